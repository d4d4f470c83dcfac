/* nibble chat: a conversation. The session keeps it, every turn adds to it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/bytes.h"
#include "base/mem.h"
#include "cli/common.h"
#include "cli/editor.h"
#include "cli/sampling.h"
#include "core/chat.h"
#include "core/saved.h"

typedef struct talk {
    const options *o;
    engine e;
    const nb_tokenizer *t;
    const nb_chat_style *style;
    const char *system; /* NULL: none */
    nb_session *session;
    sampling how;
    nb_ids held;    /* the conversation; the session holds it, or its beginning after a message that failed */
    nb_ids pending; /* what ends the last answer; it enters the session with the next message */
    uint64_t turn;  /* each answer draws from its own stream */
    speed speed;
    editor *editor; /* NULL: the input is no terminal */
    size_t printed; /* bytes of the answer at work */
    bool output_failed;
} talk;

static bool take_step(void *user, const nb_step *step) {
    talk *c = user;
    c->output_failed |= !put_text(step->text, step->text_size);
    c->printed += step->text_size;
    return !interrupted() && !c->output_failed;
}

static void clear(talk *c) {
    nb_session_rewind(c->session, 0);
    c->held.size = c->pending.size = 0;
}

/* The tokens that carry a message to the point where the model speaks. */
static nb_status message_ids(talk *c, const char *message, nb_ids *ids, nb_error *err) {
    nb_status st = nb_ids_append(ids, c->pending.data, c->pending.size, err);
    if (!st && !c->held.size) st = nb_chat_begin(c->style, c->t, ids, err);
    if (!st) st = nb_chat_user(c->style, c->t, c->held.size ? NULL : c->system, message, ids, err);
    return st;
}

static nb_status read_message(talk *c, const char *message, nb_error *err) {
    nb_ids ids = {0};
    if (nb_chat_style_alone(c->style)) clear(c);
    uint32_t before = (uint32_t)c->held.size, room = nb_session_room(c->session) - before;
    nb_status st = message_ids(c, message, &ids, err);
    if (!st && ids.size >= room) {
        st = nb_fail(err, NB_LIMIT,
                     "the message has %zu tokens, and %" PRIu32 " of the context's %" PRIu32 " are left: %s", ids.size,
                     room, nb_session_room(c->session),
                     c->editor && before ? "/clear starts anew" : "give a larger --ctx");
    }
    double begin = seconds_now();
    uint32_t length = nb_session_length(c->session);
    if (!st && length < before) st = feed(c->session, c->held.data + length, before - length, (size_t)c->o->chunk, err);
    if (!st) st = feed(c->session, ids.data, ids.size, (size_t)c->o->chunk, err);
    c->speed.prefill_seconds += seconds_now() - begin;
    if (!st) st = nb_ids_append(&c->held, ids.data, ids.size, err);
    if (!st)
        c->speed.prefill_tokens += ids.size;
    else
        nb_session_rewind(c->session, before);
    nb_ids_free(&ids);
    return st;
}

static nb_status answer(talk *c, nb_error *err) {
    nb_generate_options how = sampling_options(&c->how, c->o);
    how.stream = c->turn++;
    how.tools = nb_chat_style_has_tools(c->style, c->t);
    how.step = take_step;
    how.user = c;
    nb_generated g = {0};
    double begin = seconds_now();
    c->printed = 0;
    nb_status st = nb_generate(c->session, c->held.data, c->held.size, &how, &g, err);
    c->speed.decode_seconds += seconds_now() - begin;
    c->speed.decode_tokens += g.ids.size;
    c->speed.drafted += g.drafted;
    c->speed.accepted += g.accepted;
    if (!st) {
        if (g.text.size > c->printed) put_text(nb_buf_str(&g.text) + c->printed, g.text.size - c->printed);
        put_text("\n", 1);
        c->pending.size = 0;
        st = nb_ids_append(&c->held, g.ids.data, g.ids.size, err);
    }
    if (!st) st = nb_chat_assistant_end(c->style, c->t, g.end_token, &c->pending, err);
    nb_generated_free(&g);
    return st;
}

/* Whether a line typed at a terminal was a command; *quit when it ends the conversation. */
static bool terminal_command(talk *c, const char *line, bool *quit) {
    if (!c->editor || *line != '/') return false;
    if (!strcmp(line, "/quit") || !strcmp(line, "/exit")) {
        *quit = true;
    } else if (!strcmp(line, "/clear")) {
        clear(c);
    } else {
        if (strcmp(line, "/help") != 0) fprintf(stderr, "'%s' is no command; ", line);
        fputs("/clear starts anew, /quit or Ctrl-D leaves\n", stderr);
    }
    return true;
}

static bool next_line(talk *c, nb_buf *line) {
    return c->editor ? editor_read(c->editor, line) : read_line(line);
}

static nb_status converse(talk *c, nb_error *err) {
    nb_buf line = {0};
    nb_status st = NB_OK;
    bool quit = false;
    while (!quit && !c->output_failed && next_line(c, &line)) {
        const char *text = nb_buf_str(&line);
        if (!text[strspn(text, " \t\r")] || terminal_command(c, text, &quit)) continue;
        st = read_message(c, text, err);
        if (!st) st = answer(c, err);
        if (!c->editor && (st || interrupted())) break;
        if (!c->editor) continue;
        /* At a terminal one turn that fails is not the end, nor is Ctrl-C while the model speaks. */
        if (st == NB_CANCELLED)
            fputc('\n', stderr);
        else if (st)
            fail(err);
        interrupted_clear();
        st = NB_OK;
    }
    if (line.failed) st = nb_oom(err, "the message", line.size);
    nb_buf_free(&line);
    return st;
}

/* ---- saved conversations: beside the text, u64 turn and the pending ids in u32 */

static nb_status save_talk(talk *c, nb_error *err) {
    nb_saved saved = {.ids = c->held};
    if (!c->held.size) return nb_fail(err, NB_ARGUMENT, "there is no conversation to save to '%s'", c->o->save);
    nb_buf_u64(&saved.more, c->turn);
    for (size_t i = 0; i < c->pending.size; i++) nb_buf_u32(&saved.more, (uint32_t)c->pending.data[i]);
    nb_status st = nb_session_save(c->session, &saved, c->o->save, err);
    nb_buf_free(&saved.more);
    return st;
}

static nb_status load_talk(talk *c, nb_error *err) {
    nb_saved saved = {0};
    nb_status st = nb_session_load(c->session, c->o->load, &saved, err);
    if (st) return st;
    nb_cursor more = nb_cursor_over(saved.more.data, saved.more.size);
    if (more.size) c->turn = nb_take_u64(&more); /* `run` saves a text without more */
    while (!st && more.pos < more.size && !more.bad) st = nb_ids_push(&c->pending, (int32_t)nb_take_u32(&more), err);
    if (!st && more.bad) st = nb_fail(err, NB_FORMAT, "'%s': it is no saved conversation", c->o->load);
    c->held = saved.ids;
    saved.ids = (nb_ids){0};
    nb_saved_free(&saved);
    return st;
}

/* A turn that nobody hears: what the vocabulary lacks for the style is said before the first answer. */
static nb_status rehearse(const talk *c, nb_error *err) {
    nb_ids ids = {0};
    nb_status st = nb_chat_begin(c->style, c->t, &ids, err);
    if (!st) st = nb_chat_user(c->style, c->t, c->system, "", &ids, err);
    if (!st) st = nb_chat_assistant_end(c->style, c->t, NB_NO_TOKEN, &ids, err);
    nb_ids_free(&ids);
    return st;
}

static nb_status prepare(talk *c, nb_error *err) {
    nb_status st = engine_open(&c->e, c->o, c->o->args[0], err);
    if (st) return st;
    c->t = need_tokenizer(c->e.model, c->o->args[0], err);
    if (!c->t) return NB_MISSING;
    const char *name = c->o->chat_style ? c->o->chat_style : nb_model_chat_style(c->e.model);
    c->style = nb_chat_style_find(name);
    if (!c->style)
        return nb_fail(err, NB_UNSUPPORTED, "'%s' has the chat style '%s', which this version does not know",
                       c->o->args[0], name);
    c->system = c->o->system ? c->o->system : nb_model_chat_system(c->e.model, name);
    st = rehearse(c, err);
    if (st) return st;
    nb_session_options how = session_options(&c->e, c->o, c->o->ctx);
    how.n_logits = 1 + (uint32_t)c->o->lookup;
    st = nb_session_create(&c->session, c->e.model, &how, err);
    return st || !c->o->load ? st : load_talk(c, err);
}

int cmd_chat(const options *o) {
    nb_error err = {0};
    talk c = {.o = o};
    if (sampling_read(&c.how, o, &err)) {
        sampling_free(&c.how);
        return usage_error("chat: %s", err.text);
    }
    nb_status st = prepare(&c, &err);
    if (!st && isatty(STDIN_FILENO)) c.editor = editor_open("> ");
    if (!st) st = converse(&c, &err);
    if (!st && o->save) st = save_talk(&c, &err);
    editor_close(c.editor);
    int code = st ? fail(&err) : interrupted() ? EXIT_INTERRUPTED : EXIT_SUCCESS;
    if (!code && o->stats) print_speed(&c.speed);
    nb_session_free(c.session);
    engine_close(&c.e);
    nb_ids_free(&c.held);
    nb_ids_free(&c.pending);
    sampling_free(&c.how);
    return code;
}
