#include "core/chat.h"

#include <string.h>
#include "base/buf.h"
#include "base/mem.h"
#include "core/tools.h"

struct nb_chat_style {
    const char *name;
    const char *begin, *user_start, *user_end, *answer_start, *answer_end;
    const char *system;
    bool tools, alone;
};

#define BOS_IF_ANY NULL
static const nb_chat_style styles[] = {
#define STYLE(...) {__VA_ARGS__},
#include "core/chat.def"
#undef STYLE
};

const nb_chat_style *nb_chat_style_at(size_t i) {
    return i < sizeof styles / sizeof *styles ? &styles[i] : NULL;
}

const nb_chat_style *nb_chat_style_find(const char *name) {
    for (size_t i = 0; i < sizeof styles / sizeof *styles; i++)
        if (strcmp(styles[i].name, name) == 0) return &styles[i];
    return NULL;
}

const char *nb_chat_style_name(const nb_chat_style *style) {
    return style->name;
}

bool nb_chat_style_alone(const nb_chat_style *style) {
    return style->alone;
}

bool nb_chat_style_has_tools(const nb_chat_style *style, const nb_tokenizer *t) {
    for (size_t i = 0; style->tools && i < nb_tool_count; i++)
        if (nb_tool_usable(&nb_tools[i], nb_tokenizer_vocab(t))) return true;
    return false;
}

static nb_status put_control(const nb_chat_style *style, const nb_tokenizer *t, const char *text, nb_ids *out,
                             nb_error *err) {
    if (!text[0]) return NB_OK;
    int32_t id = nb_vocab_special(nb_tokenizer_vocab(t), text);
    if (id == NB_NO_TOKEN)
        return nb_fail(err, NB_MISSING, "chat style '%s' needs the control token '%s', which the vocabulary lacks",
                       style->name, text);
    return nb_ids_push(out, id, err);
}

nb_status nb_chat_begin(const nb_chat_style *style, const nb_tokenizer *t, nb_ids *out, nb_error *err) {
    int32_t bos = nb_tokenizer_vocab(t)->bos;
    if (style->begin) return put_control(style, t, style->begin, out, err);
    return bos == NB_NO_TOKEN ? NB_OK : nb_ids_push(out, bos, err);
}

/* The message as one text, so that it is tokenized as upstream does it: across the joint. */
static nb_status put_message(const nb_chat_style *style, const nb_tokenizer *t, const char *system, const char *text,
                             nb_ids *out, nb_error *err) {
    if (!system) return nb_tokenize(t, text, strlen(text), out, err);
    if (!style->system) return nb_fail(err, NB_UNSUPPORTED, "chat style '%s' has no system texts", style->name);
    nb_buf joined = {0};
    nb_buf_text(&joined, system);
    nb_buf_text(&joined, style->system);
    nb_buf_text(&joined, text);
    nb_status st = joined.failed ? nb_oom(err, "message", strlen(system) + strlen(text))
                                 : nb_tokenize(t, nb_buf_str(&joined), joined.size, out, err);
    nb_buf_free(&joined);
    return st;
}

nb_status nb_chat_user(const nb_chat_style *style, const nb_tokenizer *t, const char *system, const char *text,
                       nb_ids *out, nb_error *err) {
    size_t before = out->size;
    nb_status st = put_control(style, t, style->user_start, out, err);
    if (!st) st = put_message(style, t, system, text, out, err);
    if (!st) st = put_control(style, t, style->user_end, out, err);
    if (!st) st = put_control(style, t, style->answer_start, out, err);
    if (st) out->size = before;
    return st;
}

nb_status nb_chat_assistant_end(const nb_chat_style *style, const nb_tokenizer *t, int32_t ended, nb_ids *out,
                                nb_error *err) {
    if (style->answer_end[0]) return put_control(style, t, style->answer_end, out, err);
    return ended == NB_NO_TOKEN ? NB_OK : nb_ids_push(out, ended, err);
}
