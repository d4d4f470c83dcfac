/* SentencePiece's tokenizer.model, a protocol buffer (convert/sentencepiece.proto). */
#include "convert/tok_sp.h"

#include <sentencepiece.pb-c.h>
#include <string.h>
#include "base/mem.h"
#include "convert/arena.h"
#include "convert/tok.h"

nb_status nb_sp_piece(nb_pieces *pieces, uint64_t id, const char *text, size_t n, double score, int64_t kind,
                      uint32_t user_flags, nb_error *err) {
    static const nb_token_type types[] = {[NB_SP_NORMAL] = NB_TOKEN_ORDINARY,  [NB_SP_UNKNOWN] = NB_TOKEN_ORDINARY,
                                          [NB_SP_CONTROL] = NB_TOKEN_ORDINARY, [NB_SP_USER] = NB_TOKEN_USER,
                                          [NB_SP_UNUSED] = NB_TOKEN_UNUSED,    [NB_SP_BYTE] = NB_TOKEN_BYTE};
    nb_piece *p;
    nb_status st = nb_pieces_at(pieces, id, &p, err);
    if (st) return st;
    if (kind < NB_SP_NORMAL || kind > NB_SP_BYTE)
        return nb_fail(err, NB_UNSUPPORTED, "its token %llu is of kind %lld, which is not known",
                       (unsigned long long)id, (long long)kind);
    if (kind == NB_SP_BYTE && nb_tok_byte_of(text, n) < 0)
        return nb_fail(err, NB_FORMAT, "its token %llu, '%.*s', does not name a byte as <0x41> does",
                       (unsigned long long)id, n < 40 ? (int)n : 40, text);
    if (!n) return NB_OK; /* a hole */
    *p = (nb_piece){.text = text, .n = n, .score = score, .type = types[kind]};
    bool control = kind == NB_SP_UNKNOWN || kind == NB_SP_CONTROL;
    if (control || (kind == NB_SP_USER && user_flags)) {
        p->added = text;
        p->n_added = n;
        p->flags = control ? 0 : user_flags;
        p->type = NB_TOKEN_ORDINARY;
    }
    return NB_OK;
}

void nb_sp_unknown(nb_vocab *v, int64_t id) {
    v->unk = id >= 0 && (uint64_t)id < v->n_tokens ? (int32_t)id : NB_NO_TOKEN;
}

/* ---- the protocol buffer ---- */

/* protobuf-c's memory. It returns NULL for damaged bytes and for want of memory alike. */
typedef struct memory {
    nb_arena *arena;
    bool failed;
} memory;

static void *take(void *user, size_t bytes) {
    memory *m = user;
    void *p = nb_arena_alloc(m->arena, bytes);
    m->failed |= !p;
    return p;
}
static void drop(void *user, void *p) {
    (void)user;
    (void)p;
}

/* What the normalizer of SentencePiece does, in its order. */
static nb_status add_rules(nb_vocab *v, const Nb__Sp__NormalizerSpec *n, nb_error *err) {
    const ProtobufCBinaryData *map = &n->precompiled_charsmap;
    nb_text_rules *r = &v->normalize;
    nb_status st = nb_text_rules_add(r, map->len ? NB_TEXT_CHARSMAP : NB_TEXT_VALID, map->len ? NB_TEXT_USER : 0, NULL, NULL, err);
    nb_buf_append(&v->charsmap, map->data, map->len);
    if (!st && v->charsmap.failed) st = nb_oom(err, "charsmap", map->len);
    if (!st && map->len > NB_MAX_CHARSMAP) st = nb_fail(err, NB_LIMIT, "its charsmap has %zu bytes", map->len);
    const char *space = n->escape_whitespaces ? NB_SP_SPACE : " ";
    if (!st && n->remove_extra_whitespaces) st = nb_text_rules_add(r, NB_TEXT_COLLAPSE, 0, NULL, NULL, err);
    if (!st && n->add_dummy_prefix) st = nb_text_rules_add(r, NB_TEXT_PREPEND, NB_TEXT_IF_FIRST | NB_TEXT_ANY, NULL, " ", err);
    if (!st && n->escape_whitespaces) st = nb_text_rules_add(r, NB_TEXT_REPLACE, 0, " ", space, err);
    if (!st && n->remove_extra_whitespaces) st = nb_text_rules_add(r, NB_TEXT_TRIM, 0, space, NULL, err);
    if (!st && !(v->space = nb_strdup(space))) st = nb_oom(err, "vocabulary", 0);
    if (n->add_dummy_prefix || n->remove_extra_whitespaces) v->flags |= NB_VOCAB_STRIP;
    if (n->remove_extra_whitespaces) v->flags |= NB_VOCAB_STRIP_EACH;
    return st;
}

static nb_status add_pieces(nb_pieces *pieces, const Nb__Sp__Model *m, uint32_t user_flags, nb_error *err) {
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < m->n_pieces; i++) {
        const Nb__Sp__Model__Piece *p = m->pieces[i];
        const char *text = p->piece ? p->piece : "";
        st = nb_sp_piece(pieces, i, text, strlen(text), (double)p->score, p->type, user_flags, err);
        if (!st && user_flags && p->type == NB_SP_UNUSED)
            st = nb_fail(err, NB_UNSUPPORTED, "its BPE has the unused piece %zu, which is not known here", i);
    }
    return st;
}

/* SentencePiece keeps the spaces of user-defined pieces; here runs of spaces go, whoever they belong to. */
static nb_status check_user_pieces(const Nb__Sp__Model *m, const Nb__Sp__NormalizerSpec *n, nb_error *err) {
    for (size_t i = 0; n->remove_extra_whitespaces && i < m->n_pieces; i++) {
        const char *text = m->pieces[i]->piece;
        if (m->pieces[i]->type == NB_SP_USER && text && strstr(text, "  "))
            return nb_fail(err, NB_UNSUPPORTED, "its user-defined piece %zu, '%.40s', has spaces that its normalization takes out", i,
                           text);
    }
    return NB_OK;
}

/* Control tokens that are put around a text: Llama's tokenizers put BOS before and nothing behind. */
static void add_ends(nb_vocab *v, const Nb__Sp__TrainerSpec *t) {
    if (t->bos_id >= 0 && (uint32_t)t->bos_id < v->n_tokens) v->bos = t->bos_id;
    if (t->pad_id >= 0 && (uint32_t)t->pad_id < v->n_tokens) v->pad = t->pad_id;
    nb_sp_unknown(v, t->unk_id);
}

static nb_status import(nb_vocab *v, const Nb__Sp__Model *m, nb_error *err) {
    Nb__Sp__TrainerSpec no_trainer = NB__SP__TRAINER_SPEC__INIT;
    Nb__Sp__NormalizerSpec no_normalizer = NB__SP__NORMALIZER_SPEC__INIT;
    const Nb__Sp__TrainerSpec *t = m->trainer_spec ? m->trainer_spec : &no_trainer;
    const Nb__Sp__NormalizerSpec *n = m->normalizer_spec ? m->normalizer_spec : &no_normalizer;
    bool bpe = t->model_type == 2;
    nb_pieces pieces = {0};
    if (!bpe && t->model_type != 1)
        return nb_fail(err, NB_UNSUPPORTED, "its model type is %d; 1 (unigram) and 2 (BPE) are known",
                       (int)t->model_type);
    if (t->treat_whitespace_as_suffix)
        return nb_fail(err, NB_UNSUPPORTED, "its pieces end with white space instead of beginning with it");
    nb_vocab_init(v, bpe ? NB_VOCAB_BPE_SCORES : NB_VOCAB_UNIGRAM);
    v->flags = NB_VOCAB_FUSE_UNK | (t->byte_fallback ? NB_VOCAB_BYTE_FALLBACK : 0u) | (bpe ? 0u : NB_VOCAB_F32);
    /* BPE takes user-defined pieces out of the changed text before it merges, Unigram gives them the best score. */
    nb_status st = check_user_pieces(m, n, err);
    if (!st) st = add_pieces(&pieces, m, bpe ? NB_SPECIAL_TEXT | NB_SPECIAL_LATE : 0, err);
    if (!st) st = nb_pieces_put(&pieces, v, false, true, err);
    if (!st) st = add_rules(v, n, err);
    if (!st) add_ends(v, t);
    nb_pieces_free(&pieces);
    return st;
}

nb_status nb_tok_sentencepiece(nb_vocab *v, const uint8_t *data, size_t n, nb_arena *arena, nb_error *err) {
    memory from = {.arena = arena};
    ProtobufCAllocator allocator = {take, drop, &from};
    const Nb__Sp__Model *m = nb__sp__model__unpack(&allocator, n, data);
    if (from.failed) return nb_arena_failed(arena, err);
    if (!m || !m->n_pieces)
        return nb_fail(err, NB_FORMAT, "it begins as a SentencePiece model, but %s",
                       m ? "has no pieces" : "is damaged");
    return import(v, m, err);
}
