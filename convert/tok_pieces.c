#include "convert/tok_pieces.h"

#include <string.h>
#include "base/checked.h"
#include "base/mem.h"
#include "core/byte_alphabet.h"

nb_status nb_pieces_at(nb_pieces *p, uint64_t id, nb_piece **piece, nb_error *err) {
    if (id >= NB_MAX_VOCAB)
        return nb_fail(err, NB_LIMIT, "it has the token id %llu, expected less than %d", (unsigned long long)id,
                       (int)NB_MAX_VOCAB);
    if (id >= p->capacity) {
        size_t capacity = nb_max_size((size_t)id + 1, nb_max_size(2 * p->capacity, 1024));
        nb_piece *v = nb_realloc(p->v, p->n * sizeof *v, capacity * sizeof *v);
        if (!v) return nb_oom(err, "tokens of a vocabulary", capacity * sizeof *v);
        p->v = v;
        p->capacity = capacity;
    }
    while (p->n <= id) p->v[p->n++] = (nb_piece){0};
    *piece = &p->v[id];
    return NB_OK;
}

void nb_pieces_free(nb_pieces *p) {
    nb_free(p->v);
    *p = (nb_pieces){0};
}

int nb_tok_byte_of(const char *text, size_t n) {
    static const char digits[] = "0123456789ABCDEF";
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>' || !text[3] || !text[4]) return -1;
    const char *high = strchr(digits, text[3]), *low = strchr(digits, text[4]);
    return high && low ? (int)(high - digits) << 4 | (int)(low - digits) : -1;
}

bool nb_tok_from_base64(const char *text, size_t n, nb_buf *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    unsigned held = 0;
    while (n && text[n - 1] == '=') n--;
    for (size_t i = 0; i < n; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit) return false;
        bits = bits << 6 | (uint32_t)(digit - digits);
        held += 6;
        if (held < 8) continue;
        held -= 8;
        nb_buf_byte(out, (uint8_t)(bits >> held));
    }
    return n > 0;
}

/* The piece's bytes, appended as the next token, and its type. */
static nb_status put_piece(nb_vocab *v, const nb_piece *piece, bool bytes, nb_token_type *type, nb_buf *scratch,
                           nb_error *err) {
    *type = piece->type;
    bool control = piece->added && !piece->made && piece->type != NB_TOKEN_BYTE;
    if (!piece->text || control) return nb_vocab_add(v, "", 0, err);
    if (piece->type == NB_TOKEN_BYTE) {
        uint8_t byte = (uint8_t)nb_tok_byte_of(piece->text, piece->n);
        return nb_vocab_add(v, &byte, 1, err);
    }
    if (!bytes) return nb_vocab_add(v, piece->text, piece->n, err);
    nb_buf_clear(scratch);
    /* What is not in the alphabet cannot be made of text; it is only printed. */
    if (!nb_from_byte_alphabet((const uint8_t *)piece->text, piece->n, scratch)) {
        *type = NB_TOKEN_UNUSED;
        return nb_vocab_add(v, piece->text, piece->n, err);
    }
    if (scratch->failed) return nb_oom(err, "vocabulary", piece->n);
    return nb_vocab_add(v, scratch->data, scratch->size, err);
}

nb_status nb_pieces_put(const nb_pieces *p, nb_vocab *v, bool bytes, bool scores, nb_error *err) {
    nb_buf scratch = {0};
    nb_status st = NB_OK;
    bool typed = false;
    if (!p->n) return nb_fail(err, NB_FORMAT, "it has no tokens");
    uint8_t *types = nb_calloc(p->n, 1);
    if (!types) return nb_oom(err, "vocabulary", p->n);
    for (size_t i = 0; !st && i < p->n; i++) {
        nb_token_type type = NB_TOKEN_ORDINARY;
        st = put_piece(v, &p->v[i], bytes, &type, &scratch, err);
        if (st || v->offsets[i] == v->offsets[i + 1]) continue;
        types[i] = (uint8_t)type;
        typed |= type != NB_TOKEN_ORDINARY;
    }
    if (!st && scores) st = nb_vocab_make_scores(v, err);
    for (size_t i = 0; !st && scores && i < p->n; i++) v->scores[i] = p->v[i].score;
    for (size_t i = 0; !st && i < p->n; i++)
        if (p->v[i].added)
            st = nb_vocab_add_special(v, p->v[i].added, p->v[i].n_added, (int32_t)i, p->v[i].flags, err);
    if (!st && typed) st = nb_vocab_make_types(v, err);
    if (!st && typed) memcpy(v->types, types, p->n);
    nb_free(types);
    nb_buf_free(&scratch);
    return st;
}
