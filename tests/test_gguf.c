/* GGUF files: ggml's types against the gguf package (tests/data/ggml_types.json), metadata of every type, split files,
 * and headers that lie. Whole models are in test_golden. */
#include "tests/support/gguf.h"

#include <jansson.h>
#include "base/bytes.h"
#include "base/file.h"
#include "base/mem.h"
#include "convert/container.h"
#include "convert/convert.h"
#include "convert/source.h"
#include "core/model.h"
#include "format/reader.h"
#include "tests/support/container.h"
#include "tests/support/unit.h"

static void write_buf(const char *path, nb_buf *b) {
    assert_false(b->failed);
    unit_write_file(path, b->data, b->size);
    nb_buf_free(b);
}

/* ---- types of tensors ---- */

static uint8_t *from_hex(const char *text, size_t *n) {
    *n = strlen(text) / 2;
    uint8_t *bytes = malloc(*n);
    assert_non_null(bytes);
    for (size_t i = 0; i < *n; i++) {
        char pair[3] = {text[2 * i], text[2 * i + 1], 0};
        bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return bytes;
}

static const nb_dtype_info *type_named(const char *name) {
    for (size_t i = 0; i < NB_DTYPE_COUNT; i++)
        if (!strcmp(nb_dtypes[i].name, name)) return &nb_dtypes[i];
    fail_msg("no type '%s'", name); /* does not return */
    return nb_dtypes;
}

static void types_have_the_values_of_ggml(void **state) {
    (void)state;
    json_error_t why;
    json_t *root = json_load_file(NIBBLE_TEST_DATA "/data/ggml_types.json", 0, &why);
    if (!root) fail_msg("%s", why.text);
    assert_int_equal(json_array_size(root), 9);
    for (size_t i = 0; i < json_array_size(root); i++) {
        const json_t *row = json_array_get(root, i);
        const nb_dtype_info *type = type_named(json_string_value(json_object_get(row, "type")));
        size_t n_bytes, n_expected;
        uint8_t *blocks = from_hex(json_string_value(json_object_get(row, "blocks")), &n_bytes),
                *expected = from_hex(json_string_value(json_object_get(row, "values")), &n_expected);
        size_t n = n_bytes / type->bytes;
        float *found = malloc(n_expected);
        assert_non_null(found);
        assert_int_equal(n_bytes % type->bytes, 0);
        assert_int_equal(n_expected, n * type->values * sizeof *found);
        type->widen(blocks, type->bytes, n, found);
        for (size_t k = 0; k < n * type->values; k++)
            if (found[k] != nb_get_f32(expected + 4 * k))
                fail_msg("%s, value %zu is %.9g, expected %.9g", type->name, k, (double)found[k],
                         (double)nb_get_f32(expected + 4 * k));
        free(blocks);
        free(expected);
        free(found);
    }
    json_decref(root);
}

/* Windows that begin and end inside of blocks. */
static void parts_of_blocks_are_read(void **state) {
    const char *folder = *state;
    enum { COLS = 96, ROWS = 3 };
    char path[UNIT_PATH];
    nb_buf b = {0};
    float all[ROWS * COLS], some[COLS];
    nb_error err = {0};
    gguf_head(&b, 3, 1, 0);
    gguf_tensor(&b, "w", 2, COLS, ROWS, 8, 0);
    gguf_pad(&b, 32);
    for (int i = 0; i < ROWS * COLS / 32; i++) {
        nb_buf_append(&b, "\0\x3c", 2); /* 1.0 */
        for (int k = 0; k < 32; k++) nb_buf_byte(&b, (uint8_t)(i * 11 + k));
    }
    write_buf(unit_path(path, folder, "x.gguf"), &b);
    nb_source *s = container_open(path);
    assert_int_equal(nb_source_rows(&s->tensors[0]), ROWS);
    assert_int_equal(nb_source_read(s, &s->tensors[0], 0, ROWS, 0, COLS, all, &err), NB_OK);
    assert_true(all[33] == 12);
    for (uint64_t row = 0; row < ROWS; row++)
        for (uint64_t col = 0; col < COLS; col += 5)
            for (uint64_t n = 1; n <= COLS - col; n++) {
                if (nb_source_read(s, &s->tensors[0], row, 1, col, n, some, &err)) fail_msg("%s", err.text);
                assert_memory_equal(some, all + row * COLS + col, (size_t)n * sizeof *some);
            }
    nb_source_close(s);
}

/* ---- metadata ---- */

static void keys_of_every_type_are_kept(void **state) {
    (void)state;
    nb_source *s = container_open(NIBBLE_TEST_DATA "/models/families/gguf-llama/model.gguf");
    const nb_value *keys = nb_value_get(s->meta, "gguf"), *v;
    static const struct {
        const char *key;
        int64_t value;
    } ints[] = {{"test.u8", 200},
                {"test.i8", -3},
                {"test.u16", 60000},
                {"test.i16", -300},
                {"test.i64", -(INT64_C(1) << 40)},
                {"llama.block_count", 2}};
    for (size_t i = 0; i < COUNT_OF(ints); i++) {
        v = nb_value_get(keys, ints[i].key);
        assert_true(v && v->kind == NB_VALUE_INT && v->integer == ints[i].value);
    }
    v = nb_value_get(keys, "test.u64");
    assert_true(v && v->kind == NB_VALUE_BIG);
    v = nb_value_get(keys, "test.f64");
    assert_true(v && v->kind == NB_VALUE_FLOAT && v->number == 0.1);
    v = nb_value_get(keys, "llama.rope.freq_base");
    assert_true(v && v->kind == NB_VALUE_FLOAT && v->number == 500000);
    v = nb_value_get(keys, "test.bool");
    assert_true(v && v->kind == NB_VALUE_BOOL && v->boolean);
    v = nb_value_get(keys, "test.texts");
    assert_true(v && v->kind == NB_VALUE_LIST && v->count == 3 && nb_value_is_text(v->items[2], "\xe4\xb8\x89"));
    v = nb_value_get(keys, "test.floats");
    assert_true(v && v->count == 2 && v->items[1]->number == -2);
    v = nb_value_get(keys, "test.ints");
    assert_true(v && v->count == 3 && v->items[1]->integer == -2);
    assert_true(nb_value_is_text(nb_value_path(s->meta, "model/architecture"), "llama"));
    assert_non_null(nb_value_path(s->meta, "model/attention.head_count_kv"));
    nb_source_close(s);
}

/* ---- headers that lie ---- */

static void a_head(nb_buf *b, uint64_t n_tensors, uint64_t n_keys) { gguf_head(b, 3, n_tensors, n_keys); }

static void version_1(nb_buf *b) { gguf_head(b, 1, 0, 0); }
static void version_9(nb_buf *b) { gguf_head(b, 9, 0, 0); }
static void big_endian(nb_buf *b) { gguf_head(b, 3u << 24, 0, 0); }
static void head_cut(nb_buf *b) { nb_buf_append(b, "GGUF\3\0\0\0\1\0", 10); }
static void many_tensors(nb_buf *b) { a_head(b, UINT64_C(1) << 40, 0); }
static void many_keys(nb_buf *b) { a_head(b, 0, UINT64_MAX); }
static void no_keys(nb_buf *b) { a_head(b, 0, 2); }
static void key_too_long(nb_buf *b) {
    a_head(b, 0, 1);
    nb_buf_u64(b, 1 << 30);
}
static void key_huge(nb_buf *b) {
    a_head(b, 0, 1);
    nb_buf_u64(b, UINT64_MAX);
}
static void key_with_nul(nb_buf *b) {
    a_head(b, 0, 1);
    nb_buf_u64(b, 3);
    nb_buf_append(b, "a\0b\4\0\0\0\1\0\0\0", 11);
}
static void key_empty(nb_buf *b) {
    a_head(b, 0, 1);
    gguf_key_u32(b, "", 1);
}
static void key_type(nb_buf *b) {
    a_head(b, 0, 1);
    gguf_key(b, "k", 13);
    nb_buf_u64(b, 0);
}
static void key_twice(nb_buf *b) {
    a_head(b, 0, 3);
    gguf_key_u32(b, "k", 1);
    gguf_key_u32(b, "a", 1);
    gguf_key_text(b, "k", "x");
}
static void value_cut(nb_buf *b) {
    a_head(b, 0, 1);
    gguf_key(b, "k", 12);
    nb_buf_u32(b, 0);
}
static void array_of_arrays(nb_buf *b) {
    a_head(b, 0, 1);
    gguf_key(b, "k", 9);
    nb_buf_u32(b, 9);
    nb_buf_u64(b, 0);
}
static void array_type(nb_buf *b) {
    a_head(b, 0, 1);
    gguf_key(b, "k", 9);
    nb_buf_u32(b, 77);
    nb_buf_u64(b, 0);
}
static void array_huge(nb_buf *b) {
    a_head(b, 0, 1);
    gguf_key(b, "k", 9);
    nb_buf_u32(b, 0);
    nb_buf_u64(b, UINT64_MAX);
}
static void array_of_texts_huge(nb_buf *b) {
    a_head(b, 0, 1);
    gguf_key(b, "k", 9);
    nb_buf_u32(b, 8);
    nb_buf_u64(b, 1000);
    for (int i = 0; i < 100; i++) gguf_text(b, "");
}
static void alignment_odd(nb_buf *b) {
    a_head(b, 0, 1);
    gguf_key_u32(b, "general.alignment", 24);
}
static void alignment_zero(nb_buf *b) {
    a_head(b, 0, 1);
    gguf_key_u32(b, "general.alignment", 0);
}
static void alignment_text(nb_buf *b) {
    a_head(b, 0, 1);
    gguf_key_text(b, "general.alignment", "32");
}
static void one_tensor(nb_buf *b, const char *name, uint32_t n_dims, uint64_t dim0, uint64_t dim1, uint32_t type,
                       uint64_t offset) {
    a_head(b, 1, 0);
    gguf_tensor(b, name, n_dims, dim0, dim1, type, offset);
    gguf_pad(b, 32);
    for (int i = 0; i < 128; i++) nb_buf_byte(b, 0);
}
static void tensor_cut(nb_buf *b) {
    a_head(b, 2, 0);
    gguf_tensor(b, "w", 1, 4, 0, 0, 0);
}
static void tensor_name(nb_buf *b) { one_tensor(b, "w\x1b[m", 1, 4, 0, 0, 0); }
static void tensor_no_name(nb_buf *b) { one_tensor(b, "", 1, 4, 0, 0, 0); }
static void tensor_dims(nb_buf *b) { one_tensor(b, "w", 5, 4, 4, 0, 0); }
static void tensor_empty(nb_buf *b) { one_tensor(b, "w", 2, 4, 0, 0, 0); }
static void tensor_large(nb_buf *b) { one_tensor(b, "w", 2, UINT64_C(1) << 40, UINT64_C(1) << 40, 0, 0); }
static void tensor_type(nb_buf *b) { one_tensor(b, "w", 1, 32, 0, 4, 0); }
static void tensor_type_huge(nb_buf *b) { one_tensor(b, "w", 1, 32, 0, UINT32_MAX, 0); }
static void tensor_type_known(nb_buf *b) { one_tensor(b, "w", 1, 256, 0, 10, 0); }
static void tensor_blocks(nb_buf *b) { one_tensor(b, "w", 2, 48, 2, 8, 0); }
static void tensor_unaligned(nb_buf *b) { one_tensor(b, "w", 1, 4, 0, 0, 16); }
static void tensor_beyond(nb_buf *b) { one_tensor(b, "w", 1, 33, 0, 0, 0); }
static void tensor_far(nb_buf *b) { one_tensor(b, "w", 1, 4, 0, 0, UINT64_MAX - 31); }
static void tensor_without_data(nb_buf *b) {
    a_head(b, 1, 0);
    gguf_tensor(b, "w", 1, 4, 0, 0, 0);
}
static void two_tensors(nb_buf *b, const char *second, uint64_t offset) {
    a_head(b, 2, 0);
    gguf_tensor(b, "a", 1, 12, 0, 0, 0);
    gguf_tensor(b, second, 1, 4, 0, 0, offset);
    gguf_pad(b, 32);
    for (int i = 0; i < 128; i++) nb_buf_byte(b, 0);
}
static void tensors_overlap(nb_buf *b) { two_tensors(b, "b", 32); }
static void tensor_twice(nb_buf *b) { two_tensors(b, "a", 64); }
static void split_without_a_name(nb_buf *b) {
    a_head(b, 0, 1);
    gguf_key_u32(b, "split.count", 2);
}

static const struct {
    void (*make)(nb_buf *b);
    const char *sentence;
} bad[] = {
    {version_1, "version 1 of GGUF; 2 and 3 are read"},
    {version_9, "version 9 of GGUF; 2 and 3 are read"},
    {big_endian, "byte order 'big', expected 'little'"},
    {head_cut, "it ends at byte 10, in the middle of its header"},
    {many_tensors, "counts 1099511627776 tensors and 0 keys, at most 1048576 and 65536 are read"},
    {many_keys, "and 18446744073709551615 keys, at most"},
    {no_keys, "in the middle of its header"},
    {key_too_long, "a text of its header has 1073741824 bytes, at most 16777216 are read, and 0 follow"},
    {key_huge, "a text of its header has 18446744073709551615 bytes"},
    {key_with_nul, "one of its keys is no text"},
    {key_empty, "one of its keys is no text"},
    {key_type, "key 'k' has the type 13, which is not known"},
    {key_twice, "key 'k' is in its header twice"},
    {value_cut, "in the middle of its header"},
    {array_of_arrays, "key 'k' is an array of type 9, expected one of single values"},
    {array_type, "key 'k' is an array of type 77"},
    {array_huge, "key 'k' is an array of 18446744073709551615 values, of which at most 0 follow"},
    {array_of_texts_huge, "key 'k' is an array of 1000 values, of which at most 100 follow"},
    {alignment_odd, "general.alignment is no power of two up to 1048576"},
    {alignment_zero, "general.alignment is no power of two"},
    {alignment_text, "general.alignment is no power of two"},
    {tensor_cut, "in the middle of its header"},
    {tensor_name, "a tensor's name is no plain text"},
    {tensor_no_name, "a tensor's name is no plain text"},
    {tensor_dims, "a tensor has 5 dimensions, at most 4 are read"},
    {tensor_empty, "tensor 'w' has no elements"},
    {tensor_large, "tensor 'w' has more elements than any machine holds"},
    {tensor_type, "tensor 'w' has the type 4, which is not known"},
    {tensor_type_huge, "tensor 'w' has the type 4294967295, which is not known"},
    {tensor_type_known, "tensor 'w' has the type Q2_K, which is not read"},
    {tensor_blocks, "tensor 'w' of the shape [2, 48] has rows that are not whole blocks of q8_0"},
    {tensor_unaligned, "tensor 'w' begins at byte 16 of the data, no multiple of 32"},
    {tensor_beyond, "tensor 'w' takes 132 bytes from byte 0 of the data, which has 128"},
    {tensor_far, "tensor 'w' takes 16 bytes from byte 18446744073709551584 of the data, which has 128"},
    {tensor_without_data, "it ends before its tensors begin"},
    {tensors_overlap, "the bytes of tensor 'b' overlap those of tensor 'a'"},
    {tensor_twice, "tensor 'a' is in the checkpoint twice"},
    {split_without_a_name, "is one of 2 parts, but is not named so"},
};

static void expect_refusal(const char *path, const char *sentence) {
    nb_error err = {0};
    container_refused(path, sentence, &err);
    if (!strstr(err.text, ".gguf'")) fail_msg("\"%s\" does not name the file", err.text);
}

static void bad_files_have_their_sentences(void **state) {
    const char *folder = *state;
    char path[UNIT_PATH];
    unit_path(path, folder, "x.gguf");
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        nb_buf b = {0};
        bad[i].make(&b);
        write_buf(path, &b);
        expect_refusal(path, bad[i].sentence);
    }
}

/* Cut at every byte of the header, a real file is refused; with one byte changed it is refused or read, without harm.
 */
static void damaged_headers_do_no_harm(void **state) {
    const char *folder = *state;
    char path[UNIT_PATH];
    nb_buf file = {0};
    nb_error err = {0};
    uint64_t seed = 1;
    assert_int_equal(nb_read_file(NIBBLE_TEST_DATA "/models/families/gguf-llama/model.gguf", 1 << 24, &file, &err),
                     NB_OK);
    unit_path(path, folder, "x.gguf");
    for (size_t n = 0; n < 3000 && n < file.size; n += unit_quick() ? 97 : 7) {
        nb_source *s = NULL;
        unit_write_file(path, file.data, n);
        assert_true(nb_container_open(&s, path, &err));
        assert_null(s);
    }
    for (int i = 0; i < (unit_quick() ? 50 : 600); i++) {
        size_t at = (size_t)(unit_random(&seed) % 2800);
        uint8_t old = file.data[at];
        nb_source *s = NULL;
        float x;
        file.data[at] = (uint8_t)unit_random(&seed);
        unit_write_file(path, file.data, file.size);
        if (!nb_container_open(&s, path, &err) && s->n_tensors)
            (void)nb_source_read(s, &s->tensors[0], 0, 1, 0, 1, &x, &err);
        nb_source_close(s);
        file.data[at] = old;
    }
    nb_buf_free(&file);
}

/* ---- split files ---- */

static void write_part(const char *folder, unsigned number, unsigned count, unsigned of, unsigned tensors,
                       const char *tensor) {
    char name[64], path[UNIT_PATH];
    nb_buf b = {0};
    snprintf(name, sizeof name, "m-%05u-of-%05u.gguf", number, count);
    gguf_head(&b, 3, 1, 3);
    gguf_key(&b, "split.no", 2);
    nb_buf_byte(&b, (uint8_t)(number - 1));
    nb_buf_byte(&b, 0);
    gguf_key_u32(&b, "split.count", of);
    gguf_key_u32(&b, "split.tensors.count", tensors);
    gguf_tensor(&b, tensor, 1, 2, 0, 0, 0);
    gguf_pad(&b, 32);
    nb_put_f32(nb_buf_extend(&b, 4), (float)number);
    nb_put_f32(nb_buf_extend(&b, 4), 7);
    write_buf(unit_path(path, folder, name), &b);
}

static void split_files_are_one_source(void **state) {
    const char *folder = *state;
    char path[UNIT_PATH];
    nb_error err = {0};
    float x[2];
    write_part(folder, 1, 2, 2, 2, "a");
    write_part(folder, 2, 2, 2, 2, "b");
    for (unsigned i = 1; i <= 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "m-%05u-of-00002.gguf", i);
        nb_source *s = container_open(unit_path(path, folder, name));
        assert_int_equal(s->n_tensors, 2);
        assert_int_equal(s->n_files, 2);
        assert_int_equal(nb_source_read(s, nb_source_find(s, "b"), 0, 1, 0, 2, x, &err), NB_OK);
        assert_true(x[0] == 2 && x[1] == 7);
        nb_source_close(s);
    }
    write_part(folder, 2, 2, 2, 2, "a");
    expect_refusal(unit_path(path, folder, "m-00001-of-00002.gguf"), "tensor 'a' is in the checkpoint twice");
    write_part(folder, 1, 2, 2, 3, "a");
    write_part(folder, 2, 2, 2, 3, "b");
    expect_refusal(path, "have 2 tensors together, expected 3");
    write_part(folder, 2, 2, 3, 3, "b");
    expect_refusal(path, "is not part 2 of 2 of a checkpoint");
    write_part(folder, 1, 3, 3, 2, "a");
    expect_refusal(unit_path(path, folder, "m-00001-of-00003.gguf"), "is one of 3 parts, but part 2 is not beside it");
    write_part(folder, 1, 3, 4, 2, "a");
    expect_refusal(path, "is one of 4 parts, but is not named so");
}

static void failing_memory_is_survived(void **state) {
    (void)state;
    for (long n = 0;; n++) {
        nb_source *s = NULL;
        nb_error err = {0};
        float x[4];
        nb_mem_fail_at(n);
        nb_status st =
            nb_container_open(&s, NIBBLE_TEST_DATA "/models/families/gguf-llama-split/model-00001-of-00003.gguf", &err);
        if (!st) st = nb_source_read(s, nb_source_find(s, "token_embd.weight"), 0, 1, 1, 4, x, &err);
        nb_mem_fail_at(-1);
        nb_source_close(s);
        if (!st) {
            assert_true(n > 20);
            break;
        }
        assert_int_equal(st, NB_MEMORY);
    }
}

static void the_vocabulary_comes_along(void **state) {
    const char *folder = *state;
    char path[UNIT_PATH];
    const nb_convert_options options = {.type = NB_TYPE_Q8, .overwrite = true};
    nb_error err = {0};
    nb_reader *r = NULL;
    unit_path(path, folder, "x.nbl");
    if (nb_convert(NIBBLE_TEST_DATA "/models/families/gguf-llama-split", path, &options, NULL, &err))
        fail_msg("%s", err.text);
    if (nb_reader_open(&r, path, NULL, &err)) fail_msg("%s", err.text);
    assert_non_null(nb_reader_find(r, "tokenizer.bytes"));
    nb_reader_close(r);
}

/* A real file with one more key; another one fills up, so that the tensors stay where they are aligned. */
static void with_key(nb_buf *to, const nb_buf *file, const char *key, float value) {
    enum { KEYS = 16, HEAD = 24, FLOAT32 = 6 };
    static const char filling[] = "................................";
    nb_buf added = {0};
    gguf_key(&added, key, FLOAT32);
    nb_buf_append(&added, &value, sizeof value);
    size_t around = 8 + strlen("filling") + 4 + 8; /* lengths, name and type of the filling */
    gguf_key_text(&added, "filling", filling + (added.size + around) % 32);
    assert_int_equal(added.size % 32, 0);
    nb_buf_append(to, file->data, HEAD);
    nb_put_u64(to->data + KEYS, nb_get_u64(to->data + KEYS) + 2);
    nb_buf_append(to, added.data, added.size);
    nb_buf_append(to, file->data + HEAD, file->size - HEAD);
    nb_buf_free(&added);
}

/* Factors that a model may have are computed with or refused, never passed over. */
static void factors_are_not_passed_over(void **state) {
    static const struct {
        const char *key;
        float value, attn_scale;
        const char *sentence; /* NULL: converts */
    } cases[] = {
        {"llama.attention.scale", 0.25f, 0.25f, NULL},
        {"llama.attention.scale", 0.0f, 0.0f, NULL},
        {"llama.embedding_scale", 1.0f, 0.0f, NULL},
        {"llama.embedding_scale", 12.0f, 0.0f,
         "says embedding_scale = 12; gguf-llama models are computed with 0|1 only"},
        {"llama.residual_scale", 0.5f, 0.0f, "says residual_scale = 0.5;"},
        {"llama.logit_scale", 8.0f, 0.0f, "says logit_scale = 8;"},
    };
    const nb_convert_options options = {.type = NB_TYPE_Q8, .overwrite = true};
    const char *folder = *state;
    char source[UNIT_PATH], target[UNIT_PATH];
    nb_buf file = {0};
    nb_error err = {0};
    unit_path(source, folder, "x.gguf");
    unit_path(target, folder, "x.nbl");
    assert_int_equal(nb_read_file(NIBBLE_TEST_DATA "/models/families/gguf-llama/model.gguf", 1 << 24, &file, &err),
                     NB_OK);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        nb_buf b = {0};
        with_key(&b, &file, cases[i].key, cases[i].value);
        write_buf(source, &b);
        nb_status st = nb_convert(source, target, &options, NULL, &err);
        if (cases[i].sentence) {
            assert_int_equal(st, NB_UNSUPPORTED);
            if (!strstr(err.text, cases[i].sentence)) fail_msg("\"%s\" lacks \"%s\"", err.text, cases[i].sentence);
            continue;
        }
        nb_model *m = NULL;
        if (st || nb_model_open(&m, target, &(nb_model_options){0}, &err)) fail_msg("%s: %s", cases[i].key, err.text);
        assert_float_equal(nb_model_hparams(m)->attn_scale, cases[i].attn_scale, 0);
        nb_model_free(m);
    }
    nb_buf_free(&file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, unit_scratch_setup, unit_scratch_teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_have_the_values_of_ggml),
        TEST(parts_of_blocks_are_read),
        cmocka_unit_test(keys_of_every_type_are_kept),
        TEST(bad_files_have_their_sentences),
        TEST(damaged_headers_do_no_harm),
        TEST(split_files_are_one_source),
        TEST(the_vocabulary_comes_along),
        TEST(factors_are_not_passed_over),
        cmocka_unit_test(failing_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
