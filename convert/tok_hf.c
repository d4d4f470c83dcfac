/* Hugging Face's tokenizer.json, and GPT-2's vocab.json with merges.txt. */
#include "convert/tok_hf.h"

#include <string.h>
#include "base/file.h"
#include "base/mem.h"
#include "convert/pickle.h"
#include "convert/tok.h"
#include "convert/tok_index.h"
#include "convert/tok_pre.h"
#include "core/byte_alphabet.h"
#include "core/utf8.h"

static nb_status add_token(nb_hf *h, const nb_value *token, nb_error *err) {
    static const struct {
        const char *key;
        uint32_t flag;
    } flags[] = {{"normalized", NB_SPECIAL_NORMALIZED},
                 {"single_word", NB_SPECIAL_WORD},
                 {"lstrip", NB_SPECIAL_LSTRIP},
                 {"rstrip", NB_SPECIAL_RSTRIP}};
    const char *content = nb_hf_text(token, "content");
    uint64_t id;
    if (!content || !*content || !nb_value_u64(nb_value_get(token, "id"), &id))
        return nb_fail(err, NB_FORMAT, "its added_tokens hold one without id or content");
    nb_piece *p;
    nb_status st = nb_pieces_at(&h->pieces, id, &p, err);
    if (st) return st;
    p->added = content;
    p->n_added = strlen(content);
    p->flags = nb_hf_flag(token, "special", false) ? 0 : NB_SPECIAL_TEXT;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (nb_hf_flag(token, flags[i].key, false)) p->flags |= flags[i].flag;
    return NB_OK;
}

/* The tokenizers crate does not take an added token's id from the file: it is that of the same text in the vocab, or
 * the next one behind all. Where the file says another, nobody knows which one the model was trained with. */
static nb_status check_ids(const nb_hf *h, const nb_value *tokens, nb_error *err) {
    nb_tok_index index;
    uint64_t next = 0, id = 0; /* next: behind the vocab, counted, and the added tokens so far */
    nb_status st = nb_tok_index_build(&index, &h->pieces, err);
    for (size_t i = 0; i < h->pieces.n; i++) next += h->pieces.v[i].text != NULL;
    for (size_t i = 0; !st && i < tokens->count; i++) {
        const char *content = nb_hf_text(tokens->items[i], "content");
        int32_t known = nb_tok_index_find(&index, content, strlen(content));
        uint64_t expected = known == NB_NO_TOKEN ? next : (uint64_t)known;
        (void)nb_value_u64(nb_value_get(tokens->items[i], "id"), &id); /* it was read before */
        if (id != expected)
            st = nb_fail(err, NB_FORMAT, "its added token '%.60s' has the id %llu, to the tokenizers crate it has %llu",
                         content, (unsigned long long)id, (unsigned long long)expected);
        if (id >= next) next = id + 1;
    }
    nb_tok_index_free(&index);
    return st;
}

static nb_status add_tokens(nb_hf *h, const nb_value *tokens, nb_error *err) {
    nb_status st = NB_OK;
    if (!tokens) return NB_OK;
    if (tokens->kind != NB_VALUE_LIST)
        return nb_fail(err, NB_FORMAT, "its added_tokens are %s, expected a list", nb_value_kind_name(tokens->kind));
    for (size_t i = 0; !st && i < tokens->count; i++) st = add_token(h, tokens->items[i], err);
    return st ? st : check_ids(h, tokens, err);
}

/* Whether text[n] is one character, in the alphabet of bytes where pieces are spelled so. */
static bool is_character(const nb_hf *h, const char *text, size_t n) {
    nb_buf byte = {0};
    size_t length = 0;
    bool one = nb_utf8_next((const uint8_t *)text, n, &length) == NB_UTF8_VALID && length == n;
    if (one && h->bytes) one = nb_from_byte_alphabet((const uint8_t *)text, n, &byte);
    nb_buf_free(&byte);
    return one;
}

/* Added tokens are found in text, but where their flags forbid it, or normalization spells them, the model makes them
 * of text too: every character, every piece of a Unigram and of a BPE that takes whole pieces. */
static void keep_made(nb_hf *h) {
    bool whole = h->v->kind == NB_VOCAB_UNIGRAM || h->v->flags & NB_VOCAB_WHOLE;
    for (size_t i = 0; i < h->pieces.n; i++) {
        nb_piece *p = &h->pieces.v[i];
        if (!p->added || !p->text || (int32_t)i == h->v->unk) continue;
        if ((p->flags & NB_SPECIAL_TEXT && whole) || is_character(h, p->text, p->n)) p->made = true;
    }
}

nb_status nb_tok_hf(nb_vocab *v, const nb_value *root, nb_error *err) {
    nb_hf h = {.v = v};
    nb_vocab_init(v, NB_VOCAB_BPE_MERGES);
    nb_status st = nb_hf_normalizer(&h, nb_value_get(root, "normalizer"), err);
    if (!st) st = nb_hf_pre_tokenizer(&h, nb_value_get(root, "pre_tokenizer"), err);
    if (!st) st = nb_hf_decoder(&h, nb_value_get(root, "decoder"), err);
    if (!st) st = nb_hf_model(&h, nb_value_get(root, "model"), err);
    if (!st) st = add_tokens(&h, nb_value_get(root, "added_tokens"), err);
    if (!st) keep_made(&h);
    if (!st) st = nb_hf_post_processor(&h, nb_value_get(root, "post_processor"), err);
    if (!st) st = nb_pieces_put(&h.pieces, v, h.bytes, v->kind == NB_VOCAB_UNIGRAM, err);
    nb_pieces_free(&h.pieces);
    return st;
}

/* ---- vocab.json and merges.txt ---- */

/* The lines of merges.txt as a list of texts; the first says which version it is. */
static nb_status merge_lines(const nb_buf *file, nb_arena *arena, const nb_value **list, nb_error *err) {
    const char *p = nb_buf_str(file), *end = p + file->size;
    nb_value *lines = nb_value_new(arena, NB_VALUE_LIST);
    if (!lines) return nb_arena_failed(arena, err);
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((stop ? stop : end) - p);
        size_t used = n && p[n - 1] == '\r' ? n - 1 : n;
        bool version = p == nb_buf_str(file) && used >= 8 && !memcmp(p, "#version", 8);
        if (used && !version) {
            nb_value *line = nb_value_new(arena, NB_VALUE_STR);
            if (!line || !(line->text = nb_arena_text(arena, p, used)) || !nb_value_push(arena, lines, line))
                return nb_arena_failed(arena, err);
            line->count = used;
        }
        p += n + (stop != NULL);
    }
    *list = lines;
    return NB_OK;
}

nb_status nb_tok_gpt2(nb_vocab *v, const nb_value *vocab, const char *merges_path, nb_arena *arena, nb_error *err) {
    static const char end[] = "<|endoftext|>";
    nb_hf h = {.v = v, .bytes = true};
    nb_buf file = {0};
    const nb_value *merges = NULL;
    nb_vocab_init(v, NB_VOCAB_BPE_MERGES);
    nb_status st = nb_read_file(merges_path, NB_PICKLE_MAX_BYTES, &file, err);
    if (!st) st = merge_lines(&file, arena, &merges, err);
    if (!st) st = nb_hf_bpe(&h, vocab, merges, err);
    if (!st) st = nb_vocab_set_pattern(v, NB_PRE_GPT2, strlen(NB_PRE_GPT2), err);
    for (size_t i = 0; !st && i < h.pieces.n; i++) {
        nb_piece *p = &h.pieces.v[i];
        if (p->text && p->n == sizeof end - 1 && !memcmp(p->text, end, p->n)) p->added = end, p->n_added = p->n;
    }
    if (!st) st = nb_pieces_put(&h.pieces, v, true, false, err);
    nb_pieces_free(&h.pieces);
    nb_buf_free(&file);
    return st;
}
