#include "tests/support/unit.h"

#include "base/mem.h"
#include "core/tokenizer.h"
#include "core/vocab.h"
#include "format/writer.h"

/* All 256 bytes, "th", "the", two specials with a hole between them. */
static nb_status make_bpe(nb_vocab *v, nb_error *err) {
    nb_vocab_init(v, NB_VOCAB_BPE_RANKS);
    nb_status st = nb_vocab_set_pattern(v, "\\S+|\\s+", 7, err);
    for (unsigned i = 0; !st && i < 256; i++) {
        uint8_t byte = (uint8_t)i;
        st = nb_vocab_add(v, &byte, 1, err);
    }
    if (!st) st = nb_vocab_add(v, "th", 2, err);
    if (!st) st = nb_vocab_add(v, "the", 3, err);
    if (!st) st = nb_vocab_add_special(v, "<|bos|>", 7, 258, 0, err);
    if (!st) st = nb_vocab_add_special(v, "<|end|>", 7, 260, 0, err);
    v->bos = 258;
    if (!st) st = nb_vocab_add_stop(v, 260, err);
    if (!st) st = nb_vocab_add_stop(v, 258, err);
    if (!st) st = nb_vocab_add_stop(v, 260, err);
    return st;
}

static nb_status make_chars(nb_vocab *v, nb_error *err) {
    static const char *const specials[] = {"<pad>", "<unk>", "<sep>"}, *const characters[] = {" ", "a", "b",
                                                                                              "\xe4\xbd\xa0"};
    nb_vocab_init(v, NB_VOCAB_CHARS);
    nb_status st = NB_OK;
    for (int32_t i = 0; !st && i < 3; i++) st = nb_vocab_add_special(v, specials[i], 5, i, 0, err);
    for (size_t i = 0; !st && i < COUNT_OF(characters); i++)
        st = nb_vocab_add(v, characters[i], strlen(characters[i]), err);
    v->pad = 0;
    v->unk = 1;
    return st;
}

static void adding(void **state) {
    (void)state;
    nb_vocab v;
    nb_error err = {0};
    assert_int_equal(make_bpe(&v, &err), NB_OK);
    assert_int_equal(v.n_tokens, 261);
    assert_int_equal(v.offsets[261], 256 + 5);
    assert_int_equal(v.offsets[258], v.offsets[261]); /* specials and the hole have no bytes */
    assert_int_equal(v.n_stops, 2);
    assert_int_equal(nb_vocab_special(&v, "<|end|>"), 260);
    assert_int_equal(nb_vocab_special(&v, "<|no|>"), NB_NO_TOKEN);
    assert_int_equal(nb_vocab_check(&v, &err), NB_OK);
    nb_vocab_free(&v);
    assert_int_equal(make_chars(&v, &err), NB_OK);
    assert_int_equal(v.n_tokens, 7);
    assert_int_equal(nb_vocab_check(&v, &err), NB_OK);
    nb_vocab_free(&v);
    nb_vocab_free(&v);
}

typedef nb_status change(nb_vocab *v, nb_error *err);
static nb_status no_pattern(nb_vocab *v, nb_error *err) {
    (void)err;
    nb_split_rules_free(&v->split);
    return NB_OK;
}
static nb_status bad_pattern(nb_vocab *v, nb_error *err) { return nb_vocab_set_pattern(v, "\\s+|(ab", 7, err); }
static nb_status latin1_pattern(nb_vocab *v, nb_error *err) { return nb_vocab_set_pattern(v, "\xe9+", 2, err); }
static nb_status nul_pattern(nb_vocab *v, nb_error *err) { return nb_vocab_set_pattern(v, "a\0b", 3, err); }
static nb_status same_bytes(nb_vocab *v, nb_error *err) { return nb_vocab_add(v, "the", 3, err); }
static nb_status same_special(nb_vocab *v, nb_error *err) { return nb_vocab_add_special(v, "<|bos|>", 7, 259, 0, err); }
static nb_status same_special_id(nb_vocab *v, nb_error *err) { return nb_vocab_add_special(v, "<|x|>", 5, 260, 0, err); }
static nb_status special_with_bytes(nb_vocab *v, nb_error *err) { return nb_vocab_add_special(v, "<|x|>", 5, 5, 0, err); }
static nb_status special_far(nb_vocab *v, nb_error *err) {
    return nb_vocab_add_special(v, "<|x|>", 5, NB_MAX_VOCAB, 0, err);
}
static nb_status special_empty(nb_vocab *v, nb_error *err) { return nb_vocab_add_special(v, "", 0, 259, 0, err); }
static nb_status far_stop(nb_vocab *v, nb_error *err) { return nb_vocab_add_stop(v, 261, err); }
static nb_status many_stops(nb_vocab *v, nb_error *err) {
    nb_status st = NB_OK;
    for (int32_t i = 0; !st && i < NB_MAX_STOPS; i++) st = nb_vocab_add_stop(v, i, err);
    return st;
}
static nb_status far_bos(nb_vocab *v, nb_error *err) {
    (void)err;
    v->bos = -2;
    return NB_OK;
}
static nb_status no_byte(nb_vocab *v, nb_error *err) {
    (void)err;
    v->bytes.data[200] = '0'; /* byte 200 becomes a second '0' */
    return NB_OK;
}
static nb_status unordered(nb_vocab *v, nb_error *err) {
    (void)err;
    v->offsets[100] = 250;
    return NB_OK;
}
static nb_status two_characters(nb_vocab *v, nb_error *err) { return nb_vocab_add(v, "ab", 2, err); }
static nb_status no_character(nb_vocab *v, nb_error *err) { return nb_vocab_add(v, "\xff", 1, err); }

static void what_is_refused(void **state) {
    (void)state;
    static const struct {
        nb_status (*make)(nb_vocab *v, nb_error *err);
        change *change;
        nb_status expected;
        const char *sentence; /* holds this */
    } cases[] = {
        {make_bpe, no_pattern, NB_MISSING, "pattern"},
        {make_bpe, bad_pattern, NB_FORMAT, "offset 7"},
        {make_bpe, latin1_pattern, NB_FORMAT, "not UTF-8"},
        {make_bpe, nul_pattern, NB_FORMAT, "NUL"},
        {make_bpe, same_bytes, NB_FORMAT, "tokens 257 and 261 have the same 3 bytes"},
        {make_bpe, same_special, NB_FORMAT, "same text or id"},
        {make_bpe, same_special_id, NB_FORMAT, "same text or id"},
        {make_bpe, special_with_bytes, NB_FORMAT, "bytes of its own"},
        {make_bpe, special_far, NB_FORMAT, "token id 16777216"},
        {make_bpe, special_empty, NB_FORMAT, "empty"},
        {make_bpe, far_stop, NB_FORMAT, "a stop token is token 261, expected 0 to 260"},
        {make_bpe, many_stops, NB_LIMIT, "stop tokens"},
        {make_bpe, far_bos, NB_FORMAT, "bos is token -2"},
        {make_bpe, no_byte, NB_FORMAT, "tokens 48 and 200 have the same"},
        {make_bpe, unordered, NB_FORMAT, "offsets"},
        {make_chars, two_characters, NB_FORMAT, "token 7 is not one character"},
        {make_chars, no_character, NB_FORMAT, "token 7 is not one character"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        nb_vocab v;
        nb_error err = {0};
        assert_int_equal(cases[i].make(&v, &err), NB_OK);
        nb_status st = cases[i].change(&v, &err);
        if (!st) st = nb_vocab_check(&v, &err);
        if (st != cases[i].expected || !strstr(err.text, cases[i].sentence))
            fail_msg("case %zu: %d, %s", i, (int)st, err.text);
        nb_vocab_free(&v);
    }
    nb_vocab v;
    nb_error err = {0};
    nb_vocab_init(&v, NB_VOCAB_CHARS);
    assert_int_equal(nb_vocab_check(&v, &err), NB_FORMAT);
    nb_vocab_free(&v);
}

static void put(nb_writer *w, const char *name, nb_type type, uint64_t count, const void *bytes, size_t n) {
    nb_error err = {0};
    nb_tensor t = {.name = name, .type = type, .layout = NB_LAYOUT_PLAIN, .n_dims = 1, .dims = {count}};
    assert_int_equal(nb_writer_tensor_begin(w, &t, &err), NB_OK);
    assert_int_equal(nb_writer_tensor_append(w, bytes, n, &err), NB_OK);
    assert_int_equal(nb_writer_tensor_end(w, &err), NB_OK);
}

/* A file with the vocabulary's tensors; little-endian as this machine, which the tests run on. */
static void write_file(const char *path, const nb_vocab *v, bool with_bytes) {
    nb_writer *w;
    nb_error err = {0};
    uint64_t identity, size;
    assert_int_equal(nb_writer_create(&w, path, &(nb_writer_options){.overwrite = true}, &err), NB_OK);
    if (with_bytes) put(w, "tokenizer.bytes", NB_TYPE_U8, v->bytes.size, v->bytes.data, v->bytes.size);
    put(w, "tokenizer.offsets", NB_TYPE_U32, v->n_tokens + 1, v->offsets, (v->n_tokens + 1) * sizeof *v->offsets);
    if (nb_writer_commit(w, "{}", "{}", &identity, &size, &err)) fail_msg("%s", err.text);
    nb_writer_close(w);
}

static void assert_same(const nb_vocab *a, const nb_vocab *b) {
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_int_equal(a->bytes.size, b->bytes.size);
    assert_memory_equal(a->bytes.data, b->bytes.data, a->bytes.size);
    assert_memory_equal(a->offsets, b->offsets, (a->n_tokens + 1) * sizeof *a->offsets);
    assert_int_equal(a->split.n, b->split.n);
    for (size_t i = 0; i < a->split.n; i++) {
        assert_string_equal(a->split.v[i].pattern, b->split.v[i].pattern);
        assert_int_equal(a->split.v[i].keep, b->split.v[i].keep);
        assert_int_equal(a->split.v[i].invert, b->split.v[i].invert);
    }
    assert_int_equal(a->n_specials, b->n_specials);
    for (size_t i = 0; i < a->n_specials; i++) {
        assert_string_equal(a->specials[i].text, b->specials[i].text);
        assert_int_equal(a->specials[i].id, b->specials[i].id);
    }
    assert_int_equal(a->bos, b->bos);
    assert_int_equal(a->unk, b->unk);
    assert_int_equal(a->pad, b->pad);
    assert_int_equal(a->n_stops, b->n_stops);
    assert_memory_equal(a->stops, b->stops, a->n_stops * sizeof *a->stops);
}

static void through_a_file(void **state) {
    (void)state;
    nb_status (*const makers[])(nb_vocab *, nb_error *) = {make_bpe, make_chars};
    char *scratch = unit_scratch_new(), path[UNIT_PATH];
    unit_path(path, scratch, "v.nbl");
    for (size_t i = 0; i < COUNT_OF(makers); i++) {
        nb_vocab v, back;
        nb_error err = {0};
        nb_reader *r;
        assert_int_equal(makers[i](&v, &err), NB_OK);
        write_file(path, &v, true);
        if (nb_reader_open(&r, path, NULL, &err)) fail_msg("%s", err.text);
        json_t *object = nb_vocab_to_json(&v);
        assert_non_null(object);
        if (nb_vocab_load(&back, object, r, &err)) fail_msg("%s", err.text);
        assert_same(&v, &back);
        assert_int_equal(nb_vocab_check(&back, &err), NB_OK);
        nb_vocab_free(&back);
        assert_int_equal(nb_vocab_load(&back, NULL, r, &err), NB_MISSING);
        for (long n = 0;; n++) { /* the n-th allocation fails */
            nb_mem_fail_at(n);
            nb_status st = nb_vocab_load(&back, object, r, &err);
            long counted = nb_mem_fail_at(-1);
            if (!st) nb_vocab_free(&back);
            if (counted <= n) break;
            assert_int_equal(st, NB_MEMORY);
        }
        json_decref(object);
        nb_reader_close(r);
        nb_vocab_free(&v);
    }
    unit_scratch_free(scratch);
}

static void bad_objects(void **state) {
    (void)state;
    static const struct {
        const char *object;
        nb_status expected;
        const char *sentence;
    } cases[] = {
        {"[]", NB_FORMAT, "not an object"},
        {"{}", NB_FORMAT, "\"kind\" is missing"},
        {"{\"kind\": 3}", NB_FORMAT, "\"kind\""},
        {"{\"kind\": \"wordpiece\"}", NB_UNSUPPORTED, "'wordpiece'"},
        {"{\"kind\": \"chars\", \"normalizer\": 1}", NB_UNSUPPORTED, "\"normalizer\""},
        {"{\"kind\": \"chars\", \"bos\": 7}", NB_FORMAT, "bos is token 7"},
        {"{\"kind\": \"chars\", \"bos\": \"x\"}", NB_FORMAT, "\"bos\" is not a token id"},
        {"{\"kind\": \"chars\", \"bos\": -1}", NB_FORMAT, "\"bos\""},
        {"{\"kind\": \"chars\", \"stops\": 2}", NB_FORMAT, "\"stops\""},
        {"{\"kind\": \"chars\", \"stops\": [1.5]}", NB_FORMAT, "\"stops\""},
        {"{\"kind\": \"chars\", \"specials\": [1]}", NB_FORMAT, "\"specials\""},
        {"{\"kind\": \"chars\", \"specials\": [{\"text\": \"x\"}]}", NB_FORMAT, "\"specials\""},
        {"{\"kind\": \"chars\", \"specials\": [{\"text\": \"x\", \"id\": 7}]}", NB_FORMAT, "\"specials\""},
        {"{\"kind\": \"chars\", \"specials\": [{\"text\": \"x\", \"id\": 4}]}", NB_FORMAT, "bytes of its own"},
        {"{\"kind\": \"chars\", \"strip\": 1}", NB_FORMAT, "\"strip\" is not true"},
        {"{\"kind\": \"chars\", \"space\": \"\"}", NB_FORMAT, "\"space\" is not a text"},
        {"{\"kind\": \"chars\", \"normalize\": {}}", NB_FORMAT, "\"normalize\" is not an array"},
        {"{\"kind\": \"chars\", \"normalize\": [{\"x\": 1}]}", NB_FORMAT, "without a name"},
        {"{\"kind\": \"chars\", \"normalize\": [{\"do\": \"burn\"}]}", NB_UNSUPPORTED, "the rule 'burn'"},
        {"{\"kind\": \"chars\", \"prepare\": [{\"do\": \"prepend\"}]}", NB_FORMAT, "lacks a text"},
        {"{\"kind\": \"chars\", \"prepare\": [{\"do\": \"nfc\", \"text\": \"a\"}]}", NB_FORMAT, "one too many"},
        {"{\"kind\": \"chars\", \"prepare\": [{\"do\": \"nfc\", \"left\": true}]}", NB_FORMAT,
         "a flag that it cannot have"},
        {"{\"kind\": \"chars\", \"prepare\": [{\"do\": \"nfc\", \"why\": true}]}", NB_FORMAT,
         "a key that is not known"},
        {"{\"kind\": \"chars\", \"split\": [3]}", NB_FORMAT, "neither a pattern nor"},
        {"{\"kind\": \"chars\", \"split\": [{\"pattern\": \"a\", \"keep\": \"some\"}]}", NB_FORMAT,
         "neither a pattern nor"},
        {"{\"kind\": \"chars\", \"specials\": [{\"text\": \"x\", \"id\": 1, \"flags\": [\"odd\"]}]}", NB_FORMAT,
         "flags that are known"},
        {"{\"kind\": \"chars\", \"split\": null}", NB_FORMAT, "\"split\""},
    };
    char *scratch = unit_scratch_new(), path[UNIT_PATH];
    unit_path(path, scratch, "v.nbl");
    nb_vocab v, back;
    nb_error err = {0};
    nb_reader *r;
    assert_int_equal(make_chars(&v, &err), NB_OK);
    write_file(path, &v, true);
    assert_int_equal(nb_reader_open(&r, path, NULL, &err), NB_OK);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        json_t *object = json_loads(cases[i].object, 0, NULL);
        assert_non_null(object);
        nb_status st = nb_vocab_load(&back, object, r, &err);
        if (st != cases[i].expected || !strstr(err.text, cases[i].sentence))
            fail_msg("case %zu: %d, %s", i, (int)st, err.text);
        json_decref(object);
    }
    nb_reader_close(r);
    write_file(path, &v, false);
    assert_int_equal(nb_reader_open(&r, path, NULL, &err), NB_OK);
    json_t *object = nb_vocab_to_json(&v);
    assert_int_equal(nb_vocab_load(&back, object, r, &err), NB_MISSING);
    json_decref(object);
    nb_reader_close(r);
    nb_vocab_free(&v);
    unit_scratch_free(scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adding),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(through_a_file),
        cmocka_unit_test(bad_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
