/* tokenizer.json: the models BPE and Unigram, and what a post-processor puts around a text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "convert/tok_hf.h"
#include "convert/tok_index.h"

/* ---- BPE ---- */

static nb_status add_vocab(nb_hf *h, const nb_value *vocab, nb_error *err) {
    if (!vocab || vocab->kind != NB_VALUE_DICT || !vocab->count)
        return nb_fail(err, NB_FORMAT, "its model has no vocab, a dict of texts and ids");
    for (size_t i = 0; i < vocab->count; i++) {
        const nb_value *text = vocab->items[2 * i];
        uint64_t id;
        if (text->kind != NB_VALUE_STR || !nb_value_u64(vocab->items[2 * i + 1], &id))
            return nb_fail(err, NB_FORMAT, "its vocab maps %s to %s, expected a text to an id",
                           nb_value_kind_name(text->kind), nb_value_kind_name(vocab->items[2 * i + 1]->kind));
        /* Ids may have holes, but few: a table of them is made. */
        if (id >= 2 * vocab->count + 65536)
            return nb_fail(err, NB_FORMAT, "its vocab has the id %llu among %zu tokens", (unsigned long long)id,
                           vocab->count);
        nb_piece *p;
        nb_status st = nb_pieces_at(&h->pieces, id, &p, err);
        if (st) return st;
        if (p->text) return nb_fail(err, NB_FORMAT, "its vocab has the id %llu twice", (unsigned long long)id);
        p->text = text->text;
        p->n = text->count;
    }
    return NB_OK;
}

/* The two halves of a merge: "a b" (neither has a space) or [a, b]. */
static bool halves(const nb_value *merge, const char *text[2], size_t n[2]) {
    if (merge->kind == NB_VALUE_STR) {
        const char *space = memchr(merge->text, ' ', merge->count);
        if (!space) return false;
        text[0] = merge->text;
        n[0] = (size_t)(space - merge->text);
        text[1] = space + 1;
        n[1] = merge->count - n[0] - 1;
        return !memchr(text[1], ' ', n[1]);
    }
    if (merge->kind != NB_VALUE_LIST || merge->count != 2) return false;
    for (size_t i = 0; i < 2; i++) {
        if (merge->items[i]->kind != NB_VALUE_STR) return false;
        text[i] = merge->items[i]->text;
        n[i] = merge->items[i]->count;
    }
    return true;
}

static nb_status add_merge(nb_hf *h, const nb_tok_index *x, const nb_value *merge, size_t number, nb_buf *both,
                           nb_error *err) {
    const char *text[2];
    size_t n[2];
    if (!halves(merge, text, n))
        return nb_fail(err, NB_FORMAT, "its merge %zu is %s, expected two texts", number,
                       nb_value_kind_name(merge->kind));
    nb_buf_clear(both);
    nb_buf_append(both, text[0], n[0]);
    nb_buf_append(both, text[1], n[1]);
    if (both->failed) return nb_oom(err, "merges", n[0] + n[1]);
    int32_t ids[3] = {nb_tok_index_find(x, text[0], n[0]), nb_tok_index_find(x, text[1], n[1]),
                      nb_tok_index_find(x, nb_buf_str(both), both->size)};
    for (size_t i = 0; i < 3; i++) {
        if (ids[i] == NB_NO_TOKEN)
            return nb_fail(err, NB_FORMAT, "its merge %zu, '%.*s' and '%.*s', needs a token that its vocab lacks",
                           number, (int)(n[0] < 60 ? n[0] : 60), text[0], (int)(n[1] < 60 ? n[1] : 60), text[1]);
        h->pieces.v[ids[i]].made = true;
    }
    h->v->merges[2 * h->v->n_merges] = (uint32_t)ids[0];
    h->v->merges[2 * h->v->n_merges++ + 1] = (uint32_t)ids[1];
    return NB_OK;
}

nb_status nb_hf_bpe(nb_hf *h, const nb_value *vocab, const nb_value *merges, nb_error *err) {
    nb_tok_index x = {0};
    nb_buf both = {0};
    nb_status st = add_vocab(h, vocab, err);
    if (st) return st;
    if (!merges || merges->kind != NB_VALUE_LIST || merges->count > NB_MAX_VOCAB)
        return nb_fail(err, NB_FORMAT, "its model has no merges, a list of pairs");
    h->v->merges = nb_alloc((merges->count + 1) * 2 * sizeof *h->v->merges);
    if (!h->v->merges) return nb_oom(err, "merges", merges->count * 2 * sizeof *h->v->merges);
    st = nb_tok_index_build(&x, &h->pieces, err);
    for (size_t i = 0; !st && i < merges->count; i++) st = add_merge(h, &x, merges->items[i], i, &both, err);
    nb_tok_index_free(&x);
    nb_buf_free(&both);
    return st;
}

/* The id of a text in the vocab, by looking at all: for the few that are named by text. */
static int32_t id_of(const nb_pieces *p, const char *text) {
    size_t n = strlen(text);
    for (size_t i = 0; i < p->n; i++) {
        const nb_piece *piece = &p->v[i];
        if (piece->text && piece->n == n && !memcmp(piece->text, text, n)) return (int32_t)i;
        if (piece->added && piece->n_added == n && !memcmp(piece->added, text, n)) return (int32_t)i;
    }
    return NB_NO_TOKEN;
}

/* Tokens "<0x41>" stand for bytes. */
static void mark_bytes(nb_hf *h) {
    for (size_t i = 0; i < h->pieces.n; i++) {
        nb_piece *p = &h->pieces.v[i];
        if (p->text && nb_tok_byte_of(p->text, p->n) >= 0) p->type = NB_TOKEN_BYTE;
    }
    h->v->flags |= NB_VOCAB_BYTE_FALLBACK;
}

static bool has_text(const nb_value *part, const char *key) {
    const char *text = nb_hf_text(part, key);
    return text && *text;
}

static nb_status import_bpe(nb_hf *h, const nb_value *model, nb_error *err) {
    const char *unk = nb_hf_text(model, "unk_token");
    if (has_text(model, "continuing_subword_prefix") || has_text(model, "end_of_word_suffix"))
        return nb_fail(err, NB_UNSUPPORTED, "its BPE marks where words begin or end, which is not known here");
    double dropout = 0;
    if (nb_value_number(nb_value_get(model, "dropout"), &dropout) && dropout != 0)
        return nb_fail(err, NB_UNSUPPORTED,
                       "its BPE leaves out merges at random (\"dropout\": %g), so that a text has many spellings; null "
                       "is what a trained model is used with",
                       dropout);
    h->v->kind = NB_VOCAB_BPE_MERGES;
    if (!h->bytes) h->v->flags |= NB_VOCAB_CHARACTERS;
    if (nb_hf_flag(model, "ignore_merges", false)) h->v->flags |= NB_VOCAB_WHOLE;
    if (nb_hf_flag(model, "fuse_unk", false)) h->v->flags |= NB_VOCAB_FUSE_UNK;
    nb_status st = nb_hf_bpe(h, nb_value_get(model, "vocab"), nb_value_get(model, "merges"), err);
    if (st) return st;
    if (nb_hf_flag(model, "byte_fallback", false)) mark_bytes(h);
    if (unk) h->v->unk = id_of(&h->pieces, unk);
    if (unk && h->v->unk == NB_NO_TOKEN)
        return nb_fail(err, NB_FORMAT, "its unk_token '%.60s' is not in its vocab", unk);
    return NB_OK;
}

/* ---- Unigram ---- */

/* A score as the tokenizers crate reads it, which may be the neighbour of the nearest number: it takes the digits for
 * an integer, rounds that, and divides by a power of ten. Readings whose scores are equal but for the order of their
 * sums are told apart by such an ulp. The file's digits are the fewest that tell the number, as all writers print it. */
static double crate_score(double score) {
    char text[40], digits[40];
    size_t n = 0;
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision - 1, score);
        if (strtod(text, NULL) == score) break;
    }
    char *exponent = strchr(text, 'e');
    if (!exponent) return score; /* not finite */
    *exponent++ = 0;
    for (const char *p = text; *p; p++)
        if (*p >= '0' && *p <= '9') digits[n++] = *p;
    while (n > 1 && digits[n - 1] == '0') n--;
    digits[n] = 0;
    long power = (long)n - 1 - strtol(exponent, NULL, 10);
    snprintf(text, sizeof text, "1e%ld", labs(power));
    double integer = (double)strtoull(digits, NULL, 10), scale = strtod(text, NULL);
    double size = power > 0 ? integer / scale : integer * scale;
    return score < 0 ? -size : size;
}

/* Of pieces with one text the last counts. */
static nb_status drop_repeated(nb_hf *h, nb_error *err) {
    nb_tok_index x;
    nb_status st = nb_tok_index_build(&x, &h->pieces, err);
    for (size_t i = 0; !st && i < h->pieces.n; i++) {
        nb_piece *p = &h->pieces.v[i];
        if (p->text && nb_tok_index_find(&x, p->text, p->n) != (int32_t)i) p->type = NB_TOKEN_UNUSED;
    }
    nb_tok_index_free(&x);
    return st;
}

static nb_status import_unigram(nb_hf *h, const nb_value *model, nb_error *err) {
    const nb_value *vocab = nb_value_get(model, "vocab");
    uint64_t unk;
    if (!vocab || vocab->kind != NB_VALUE_LIST || !vocab->count)
        return nb_fail(err, NB_FORMAT, "its Unigram has no vocab, a list of [text, score]");
    h->v->kind = NB_VOCAB_UNIGRAM;
    h->v->flags |= NB_VOCAB_FUSE_UNK;
    for (size_t i = 0; i < vocab->count; i++) {
        const nb_value *pair = vocab->items[i];
        nb_piece *p;
        nb_status st = nb_pieces_at(&h->pieces, i, &p, err);
        if (st) return st;
        if (pair->kind != NB_VALUE_LIST || pair->count != 2 || pair->items[0]->kind != NB_VALUE_STR ||
            !nb_value_number(pair->items[1], &p->score))
            return nb_fail(err, NB_FORMAT, "its vocab's entry %zu is not [text, score]", i);
        p->text = pair->items[0]->text;
        p->n = pair->items[0]->count;
        p->score = crate_score(p->score);
    }
    if (nb_value_u64(nb_value_get(model, "unk_id"), &unk)) {
        if (unk >= vocab->count) return nb_fail(err, NB_FORMAT, "its unk_id is not in its vocab");
        h->v->unk = (int32_t)unk;
    }
    if (nb_hf_flag(model, "byte_fallback", false)) mark_bytes(h);
    return drop_repeated(h, err);
}

nb_status nb_hf_model(nb_hf *h, const nb_value *model, nb_error *err) {
    const char *type = nb_hf_type(model);
    /* Files of old versions do not name the type. */
    if (!*type && nb_value_get(model, "merges")) type = "BPE";
    if (!strcmp(type, "BPE")) return import_bpe(h, model, err);
    if (!strcmp(type, "Unigram")) return import_unigram(h, model, err);
    return nb_fail(err, NB_UNSUPPORTED, "its model '%.40s' is not known (BPE and Unigram are)", type);
}

/* ---- post-processor ---- */

/* The only id of a template's special token. */
static nb_status template_id(const nb_value *post, const char *name, int32_t *id, nb_error *err) {
    const nb_value *ids = nb_value_get(nb_value_get(nb_value_get(post, "special_tokens"), name), "ids");
    uint64_t n;
    if (!ids || ids->kind != NB_VALUE_LIST || ids->count != 1 || !nb_value_u64(ids->items[0], &n) ||
        n >= NB_MAX_VOCAB)
        return nb_fail(err, NB_FORMAT, "its template names '%.60s', which is not one special token", name);
    if (*id != NB_NO_TOKEN)
        return nb_fail(err, NB_UNSUPPORTED, "its template puts two tokens on one side of a text");
    *id = (int32_t)n;
    return NB_OK;
}

static nb_status import_template(nb_hf *h, const nb_value *post, nb_error *err) {
    const nb_value *single = nb_value_get(post, "single");
    bool behind = false;
    nb_status st = NB_OK;
    if (!single || single->kind != NB_VALUE_LIST) return nb_fail(err, NB_FORMAT, "its template has no 'single'");
    for (size_t i = 0; !st && i < single->count; i++) {
        const nb_value *special = nb_value_get(single->items[i], "SpecialToken");
        const char *name = nb_hf_text(special, "id");
        if (special && name) st = template_id(post, name, behind ? &h->v->eos : &h->v->bos, err);
        else if (nb_value_get(single->items[i], "Sequence") && !behind) behind = true;
        else st = nb_fail(err, NB_UNSUPPORTED, "its template is not tokens, a text, tokens");
    }
    return st;
}

/* [text, id] */
static nb_status pair_id(const nb_value *pair, int32_t *id, nb_error *err) {
    uint64_t n;
    if (!pair || (pair->kind != NB_VALUE_LIST && pair->kind != NB_VALUE_TUPLE) || pair->count != 2 ||
        !nb_value_u64(pair->items[1], &n) || n >= NB_MAX_VOCAB)
        return nb_fail(err, NB_FORMAT, "its post-processor has no [text, id] for 'cls' or 'sep'");
    *id = (int32_t)n;
    return NB_OK;
}

static nb_status import_post(nb_hf *h, const nb_value *post, int depth, nb_error *err) {
    const char *type = nb_hf_type(post);
    if (!strcmp(type, "ByteLevel")) return NB_OK; /* offsets only */
    if (!strcmp(type, "TemplateProcessing")) return import_template(h, post, err);
    if (!strcmp(type, "RobertaProcessing") || !strcmp(type, "BertProcessing")) {
        nb_status st = pair_id(nb_value_get(post, "cls"), &h->v->bos, err);
        return st ? st : pair_id(nb_value_get(post, "sep"), &h->v->eos, err);
    }
    const nb_value *list = nb_value_get(post, "processors");
    if (strcmp(type, "Sequence") != 0 || !list || list->kind != NB_VALUE_LIST || depth > 2)
        return nb_fail(err, NB_UNSUPPORTED, "its post-processor '%.40s' is not known", type);
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < list->count; i++) st = import_post(h, list->items[i], depth + 1, err);
    return st;
}

nb_status nb_hf_post_processor(nb_hf *h, const nb_value *post, nb_error *err) {
    return !post || post->kind == NB_VALUE_NONE ? NB_OK : import_post(h, post, 0, err);
}
