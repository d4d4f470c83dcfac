/* The vocabulary that a GGUF file brings along: the keys "tokenizer.ggml.*" of its metadata, a dict of flat keys. Kinds:
 * "gpt2" (byte-level BPE by merges) and "llama" (SentencePiece's BPE). */
#include <string.h>
#include "base/mem.h"
#include "convert/tok.h"
#include "convert/tok_hf.h"
#include "convert/tok_pre.h"
#include "convert/tok_sp.h"

#define KEY "tokenizer.ggml."

static const nb_value *list_of(const nb_value *meta, const char *key) {
    const nb_value *v = nb_value_get(meta, key);
    return v && (v->kind == NB_VALUE_LIST || v->kind == NB_VALUE_TUPLE) ? v : NULL;
}

/* The kind of token i, and its score; normal and 0 where the file says nothing. */
static bool facts_of(const nb_value *kinds, const nb_value *scores, size_t i, int64_t *kind, double *score) {
    *kind = NB_SP_NORMAL;
    *score = 0;
    if (kinds && kinds->items[i]->kind != NB_VALUE_INT) return false;
    if (kinds) *kind = kinds->items[i]->integer;
    return !scores || nb_value_number(scores->items[i], score);
}

static nb_status add_tokens(nb_pieces *pieces, const nb_value *meta, nb_error *err) {
    const nb_value *tokens = list_of(meta, KEY "tokens"), *kinds = list_of(meta, KEY "token_type"),
                   *scores = list_of(meta, KEY "scores");
    if (!tokens || !tokens->count) return nb_fail(err, NB_FORMAT, "its metadata has no list '" KEY "tokens'");
    if ((kinds && kinds->count != tokens->count) || (scores && scores->count != tokens->count))
        return nb_fail(err, NB_FORMAT, "its metadata has %zu tokens and as many kinds or scores as fit others",
                       tokens->count);
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < tokens->count; i++) {
        const nb_value *t = tokens->items[i];
        int64_t kind;
        double score;
        if (t->kind != NB_VALUE_STR || !facts_of(kinds, scores, i, &kind, &score))
            return nb_fail(err, NB_FORMAT, "its token %zu is not a text with a kind and a score", i);
        st = nb_sp_piece(pieces, i, t->text, t->count, score, kind, NB_SPECIAL_TEXT, err);
    }
    return st;
}

/* Texts of merges name pieces, as in a tokenizer.json: the same dict of texts and ids is made of the tokens. */
static nb_status add_bpe(nb_hf *h, const nb_value *meta, nb_arena *arena, nb_error *err) {
    const nb_value *tokens = list_of(meta, KEY "tokens");
    nb_value *vocab = nb_value_new(arena, NB_VALUE_DICT);
    nb_hf plain = {.v = h->v};
    for (size_t i = 0; vocab && i < tokens->count; i++) {
        nb_value *id = nb_value_new(arena, NB_VALUE_INT);
        if (!id || !nb_value_put(arena, vocab, tokens->items[i], id)) return nb_arena_failed(arena, err);
        id->integer = (int64_t)i;
    }
    if (!vocab) return nb_arena_failed(arena, err);
    nb_status st = nb_hf_bpe(&plain, vocab, nb_value_get(meta, KEY "merges"), err);
    for (size_t i = 0; !st && i < plain.pieces.n && i < h->pieces.n; i++)
        h->pieces.v[i].made = plain.pieces.v[i].made;
    nb_pieces_free(&plain.pieces);
    return st;
}

static nb_status import_gpt2(nb_hf *h, const nb_value *meta, nb_arena *arena, nb_error *err) {
    const char *pre = nb_hf_text(meta, KEY "pre");
    h->v->kind = NB_VOCAB_BPE_MERGES;
    nb_status st = nb_tok_pre(h->v, pre ? pre : "default", err);
    if (!st) st = add_bpe(h, meta, arena, err);
    if (!st && nb_hf_flag(meta, KEY "add_space_prefix", false))
        st = nb_text_rules_add(&h->v->normalize, NB_TEXT_PREPEND, NB_TEXT_UNLESS, NULL, " ", err);
    return st ? st : nb_pieces_put(&h->pieces, h->v, true, false, err);
}

static nb_status import_llama(nb_hf *h, const nb_value *meta, nb_error *err) {
    nb_vocab *v = h->v;
    bool prefix = nb_hf_flag(meta, KEY "add_space_prefix", true);
    v->kind = NB_VOCAB_BPE_SCORES;
    v->flags = NB_VOCAB_BYTE_FALLBACK | NB_VOCAB_FUSE_UNK | (prefix ? NB_VOCAB_STRIP : 0u);
    nb_status st = NB_OK;
    if (prefix) st = nb_text_rules_add(&v->normalize, NB_TEXT_PREPEND, 0, NULL, " ", err);
    if (!st) st = nb_text_rules_add(&v->normalize, NB_TEXT_REPLACE, 0, " ", NB_SP_SPACE, err);
    if (!st && !(v->space = nb_strdup(NB_SP_SPACE))) st = nb_oom(err, "vocabulary", 3);
    return st ? st : nb_pieces_put(&h->pieces, v, false, true, err);
}

/* The id under `key`; *id stays when there is none. */
static nb_status get_id(const nb_vocab *v, const nb_value *meta, const char *key, int32_t *id, nb_error *err) {
    const nb_value *value = nb_value_get(meta, key);
    uint64_t n;
    if (!value) return NB_OK;
    if (!nb_value_u64(value, &n) || n >= v->n_tokens)
        return nb_fail(err, NB_FORMAT, "its '%s' is no token of its vocabulary", key);
    *id = (int32_t)n;
    return NB_OK;
}

static nb_status add_ends(nb_vocab *v, const nb_value *meta, bool llama, nb_error *err) {
    int32_t bos = NB_NO_TOKEN, eos = NB_NO_TOKEN, eot = NB_NO_TOKEN;
    nb_status st = get_id(v, meta, KEY "bos_token_id", &bos, err);
    if (!st) st = get_id(v, meta, KEY "eos_token_id", &eos, err);
    if (!st) st = get_id(v, meta, KEY "eot_token_id", &eot, err);
    if (!st) st = get_id(v, meta, KEY "unknown_token_id", &v->unk, err);
    if (!st) st = get_id(v, meta, KEY "padding_token_id", &v->pad, err);
    if (!st && eos != NB_NO_TOKEN) st = nb_vocab_add_stop(v, eos, err);
    if (!st && eot != NB_NO_TOKEN) st = nb_vocab_add_stop(v, eot, err);
    if (nb_hf_flag(meta, KEY "add_bos_token", llama)) v->bos = bos;
    if (nb_hf_flag(meta, KEY "add_eos_token", false)) v->eos = eos;
    return st;
}

nb_status nb_tok_gguf(nb_vocab *v, const nb_value *meta, nb_arena *arena, nb_error *err) {
    const char *model = nb_hf_text(meta, KEY "model");
    bool llama = model && !strcmp(model, "llama"), gpt2 = model && !strcmp(model, "gpt2");
    nb_hf h = {.v = v, .bytes = gpt2};
    nb_vocab_init(v, NB_VOCAB_BPE_MERGES);
    if (!llama && !gpt2)
        return nb_fail(err, NB_UNSUPPORTED, "its vocabulary is of the kind '%.40s'; 'gpt2' and 'llama' are known",
                       model ? model : "");
    nb_status st = add_tokens(&h.pieces, meta, err);
    if (!st) st = gpt2 ? import_gpt2(&h, meta, arena, err) : import_llama(&h, meta, err);
    if (!st) st = add_ends(v, meta, llama, err);
    nb_pieces_free(&h.pieces);
    return st;
}
