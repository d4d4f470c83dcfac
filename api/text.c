#include "api/api.h"
#include "base/mem.h"
#include "core/chat.h"

const nb_tokenizer *api_tokenizer(const nibble_model *model, nb_error *err) {
    const nb_tokenizer *t = nb_model_tokenizer(model->m);
    if (!t) nb_fail(err, NB_MISSING, "the model has no tokenizer");
    return t;
}

static nb_status check_id(const nibble_model *model, int32_t id, nb_error *err) {
    uint32_t vocab_size = nibble_model_vocab_size(model);
    if (id >= 0 && (uint32_t)id < vocab_size) return NB_OK;
    return nb_fail(err, NB_ARGUMENT, "expected a token id from 0 to %u, found %d", vocab_size - 1, id);
}

nibble_status nibble_tokenize(const nibble_model *model, const char *text, size_t n, unsigned flags, int32_t *ids,
                              size_t capacity, size_t *n_ids, nibble_error *error) {
    nb_error *err = err_of(error);
    const nb_tokenizer *t = api_tokenizer(model, err);
    if (!t) return NIBBLE_MISSING;
    nb_ids found = {0};
    unsigned how = 0;
    nb_status st = need(text, n, "a text", err);
    if (!st && flags & ~(unsigned)(NIBBLE_TOKENIZE_CONTROL | NIBBLE_TOKENIZE_ENDS))
        st = nb_fail(err, NB_ARGUMENT, "0x%x are no flags of tokenizing", flags);
    if (flags & NIBBLE_TOKENIZE_CONTROL) how |= NB_TOKENIZE_CONTROL;
    if (flags & NIBBLE_TOKENIZE_ENDS) how |= NB_TOKENIZE_ENDS;
    if (!st) st = nb_tokenize_as(t, text, n, how, &found, err);
    if (!st) st = give(ids, capacity, found.data, found.size, sizeof *ids, n_ids, err);
    nb_ids_free(&found);
    return status_of(st);
}

nibble_status nibble_detokenize(const nibble_model *model, const int32_t *ids, size_t n_ids, char *text,
                                size_t capacity, size_t *n, nibble_error *error) {
    nb_error *err = err_of(error);
    const nb_tokenizer *t = api_tokenizer(model, err);
    if (!t) return NIBBLE_MISSING;
    nb_buf bytes = {0};
    nb_status st = need(ids, n_ids, "token ids", err);
    for (size_t i = 0; !st && i < n_ids; i++) st = check_id(model, ids[i], err);
    if (!st) nb_detokenize(t, ids, n_ids, false, true, &bytes);
    if (bytes.failed) st = nb_oom(err, "a text", bytes.size);
    if (!st) st = give(text, capacity, bytes.data, bytes.size, 1, n, err);
    nb_buf_free(&bytes);
    return status_of(st);
}

int32_t nibble_control_token(const nibble_model *model, const char *text) {
    const nb_tokenizer *t = nb_model_tokenizer(model->m);
    int32_t id = t && text ? nb_vocab_special(nb_tokenizer_vocab(t), text) : NB_NO_TOKEN;
    return id != NB_NO_TOKEN && nb_token_special_text(t, id) ? id : -1;
}

const char *nibble_control_text(const nibble_model *model, int32_t id) {
    const nb_tokenizer *t = nb_model_tokenizer(model->m);
    return t && !check_id(model, id, NULL) ? nb_token_special_text(t, id) : NULL;
}

/* ---- decoding that streams */

struct nibble_decoder {
    const nibble_model *model;
    const nb_tokenizer *t;
    nb_utf8 utf8;
    nb_buf bytes, text;
    bool first; /* the next token begins the text */
};

nibble_status nibble_decoder_create(nibble_decoder **decoder, const nibble_model *model, nibble_error *error) {
    nb_error *err = err_of(error);
    *decoder = NULL;
    const nb_tokenizer *t = api_tokenizer(model, err);
    if (!t) return NIBBLE_MISSING;
    nibble_decoder *d = nb_calloc(1, sizeof *d);
    if (!d) return status_of(nb_oom(err, "a decoder", sizeof *d));
    *d = (nibble_decoder){.model = model, .t = t, .first = true};
    *decoder = d;
    return NIBBLE_OK;
}

void nibble_decoder_free(nibble_decoder *decoder) {
    if (!decoder) return;
    nb_buf_free(&decoder->bytes);
    nb_buf_free(&decoder->text);
    nb_free(decoder);
}

static nibble_status give_text(nibble_decoder *d, const char **text, size_t *n, nb_error *err) {
    if (d->text.failed || d->bytes.failed) return status_of(nb_oom(err, "a text", d->text.size));
    *text = nb_buf_str(&d->text);
    *n = d->text.size;
    return NIBBLE_OK;
}

nibble_status nibble_decoder_add(nibble_decoder *decoder, int32_t id, const char **text, size_t *n,
                                 nibble_error *error) {
    nb_error *err = err_of(error);
    nb_status st = check_id(decoder->model, id, err);
    if (st) return status_of(st);
    nb_buf_clear(&decoder->bytes);
    nb_buf_clear(&decoder->text);
    nb_detokenize(decoder->t, &id, 1, false, decoder->first, &decoder->bytes);
    nb_utf8_feed(&decoder->utf8, decoder->bytes.data, decoder->bytes.size, &decoder->text);
    decoder->first = false;
    return give_text(decoder, text, n, err);
}

nibble_status nibble_decoder_finish(nibble_decoder *decoder, const char **text, size_t *n, nibble_error *error) {
    nb_buf_clear(&decoder->text);
    nb_utf8_finish(&decoder->utf8, &decoder->text);
    decoder->utf8 = (nb_utf8){0};
    decoder->first = true;
    return give_text(decoder, text, n, err_of(error));
}

/* ---- conversations */

static nb_status check_order(const nibble_message *messages, size_t n, nb_error *err) {
    size_t first = n && messages[0].role == NIBBLE_SYSTEM;
    for (size_t i = 0; i < n; i++)
        if (!messages[i].text) return nb_fail(err, NB_ARGUMENT, "message %zu has no text", i + 1);
    if (n == first || (n - first) % 2 == 0)
        return nb_fail(err, NB_ARGUMENT, "a conversation of %zu messages does not end with the user's", n);
    for (size_t i = first; i < n; i++) {
        nibble_role expected = (i - first) % 2 ? NIBBLE_ASSISTANT : NIBBLE_USER;
        if (messages[i].role != expected)
            return nb_fail(err, NB_ARGUMENT, "message %zu is not the %s's, but user and assistant alternate", i + 1,
                           expected == NIBBLE_USER ? "user" : "assistant");
    }
    return NB_OK;
}

/* `system` is written where the messages begin with none. */
static nb_status render(const nb_chat_style *style, const nb_tokenizer *t, const char *system,
                        const nibble_message *messages, size_t n, nb_ids *ids, nb_error *err) {
    size_t first = messages[0].role == NIBBLE_SYSTEM;
    if (first) system = messages[0].text;
    nb_status st = nb_chat_begin(style, t, ids, err);
    for (size_t i = first; !st && i < n; i++) {
        const char *text = messages[i].text;
        if (messages[i].role == NIBBLE_USER) {
            st = nb_chat_user(style, t, i == first ? system : NULL, text, ids, err);
        } else {
            st = nb_tokenize(t, text, strlen(text), ids, err);
            if (!st) st = nb_chat_assistant_end(style, t, NB_NO_TOKEN, ids, err);
        }
    }
    return st;
}

nibble_status nibble_chat_render(const nibble_model *model, const char *style, const nibble_message *messages,
                                 size_t n_messages, int32_t *ids, size_t capacity, size_t *n_ids, nibble_error *error) {
    nb_error *err = err_of(error);
    const nb_tokenizer *t = api_tokenizer(model, err);
    if (!t) return NIBBLE_MISSING;
    const char *name = style ? style : nb_model_chat_style(model->m);
    const nb_chat_style *how = nb_chat_style_find(name);
    if (!how) return status_of(nb_fail(err, NB_UNSUPPORTED, "the chat style '%s' is not known", name));
    nb_ids found = {0};
    nb_status st = need(messages, n_messages, "messages", err);
    if (!st) st = check_order(messages, n_messages, err);
    if (!st) st = render(how, t, nb_model_chat_system(model->m, name), messages, n_messages, &found, err);
    if (!st) st = give(ids, capacity, found.data, found.size, sizeof *ids, n_ids, err);
    nb_ids_free(&found);
    return status_of(st);
}
