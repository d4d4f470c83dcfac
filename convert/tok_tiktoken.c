/* A pickled tiktoken Encoding: its state is a dict {name, pat_str, mergeable_ranks, special_tokens}, or, for encodings
 * that tiktoken knows by name, only that name. */
#include <string.h>
#include "base/mem.h"
#include "convert/pickle.h"
#include "convert/tok.h"
#include "convert/tok_regex.h"

/* Tokens by rank: every rank from 0 to n - 1 once. */
static nb_status order_ranks(const nb_value *ranks, const nb_value **by_rank, nb_error *err) {
    for (size_t i = 0; i < ranks->count; i++) {
        const nb_value *bytes = ranks->items[2 * i];
        uint64_t rank;
        if (bytes->kind != NB_VALUE_BYTES || !nb_value_u64(ranks->items[2 * i + 1], &rank))
            return nb_fail(err, NB_FORMAT, "mergeable_ranks maps %s to %s, expected bytes to an integer",
                           nb_value_kind_name(bytes->kind), nb_value_kind_name(ranks->items[2 * i + 1]->kind));
        if (rank >= ranks->count)
            return nb_fail(err, NB_UNSUPPORTED,
                           "mergeable_ranks has the rank %llu among %zu tokens, expected all from 0 on",
                           (unsigned long long)rank, ranks->count);
        if (by_rank[rank])
            return nb_fail(err, NB_FORMAT, "mergeable_ranks has the rank %llu twice", (unsigned long long)rank);
        by_rank[rank] = bytes;
    }
    return NB_OK;
}

static nb_status add_ranks(nb_vocab *v, const nb_value *ranks, nb_error *err) {
    if (ranks->count > NB_MAX_VOCAB) return nb_fail(err, NB_LIMIT, "mergeable_ranks has %zu tokens", ranks->count);
    const nb_value **by_rank = nb_calloc(ranks->count ? ranks->count : 1, sizeof *by_rank);
    if (!by_rank) return nb_oom(err, "the tokens of a vocabulary", ranks->count * sizeof *by_rank);
    nb_status st = order_ranks(ranks, by_rank, err);
    for (size_t i = 0; !st && i < ranks->count; i++) st = nb_vocab_add(v, by_rank[i]->text, by_rank[i]->count, err);
    nb_free(by_rank);
    return st;
}

static nb_status add_specials(nb_vocab *v, const nb_value *specials, nb_error *err) {
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < specials->count; i++) {
        const nb_value *text = specials->items[2 * i];
        uint64_t id;
        if (text->kind != NB_VALUE_STR || !nb_value_u64(specials->items[2 * i + 1], &id) || id >= NB_MAX_VOCAB)
            return nb_fail(err, NB_FORMAT, "special_tokens maps %s to %s, expected a string to a token id",
                           nb_value_kind_name(text->kind), nb_value_kind_name(specials->items[2 * i + 1]->kind));
        st = nb_vocab_add_special(v, text->text, text->count, (int32_t)id, 0, err);
    }
    return st;
}

static nb_status set_pattern(nb_vocab *v, const nb_value *pattern, nb_error *err) {
    nb_buf text = {0};
    if (strlen(pattern->text) != pattern->count) return nb_fail(err, NB_UNSUPPORTED, "its pat_str has a NUL");
    nb_status st = nb_tok_regex(NB_DIALECT_RUST, pattern->text, &text, err);
    if (!st) st = nb_vocab_set_pattern(v, nb_buf_str(&text), text.size, err);
    nb_buf_free(&text);
    return st;
}

nb_status nb_tok_tiktoken(nb_vocab *v, const nb_value *encoding, nb_error *err) {
    const nb_value_object *o = encoding->object;
    if (strcmp(o->type->name, "Encoding") != 0)
        return nb_fail(err, NB_UNSUPPORTED, "it holds a %s, expected an Encoding", o->type->name);
    const nb_value *state = o->state;
    if (state && state->kind == NB_VALUE_STR)
        return nb_fail(err, NB_UNSUPPORTED,
                       "it only names the encoding '%.60s' that tiktoken brings along, without its tokens; pickle an "
                       "Encoding made with "
                       "mergeable_ranks and give it with --tokenizer",
                       state->text);
    const nb_value *pattern = nb_value_get(state, "pat_str"), *ranks = nb_value_get(state, "mergeable_ranks");
    const nb_value *specials = nb_value_get(state, "special_tokens");
    if (!pattern || pattern->kind != NB_VALUE_STR || !ranks || ranks->kind != NB_VALUE_DICT || !specials ||
        specials->kind != NB_VALUE_DICT)
        return nb_fail(err, NB_FORMAT, "the Encoding lacks pat_str, mergeable_ranks or special_tokens");
    nb_vocab_init(v, NB_VOCAB_BPE_RANKS);
    nb_status st = set_pattern(v, pattern, err);
    if (!st) st = add_ranks(v, ranks, err);
    return st ? st : add_specials(v, specials, err);
}
