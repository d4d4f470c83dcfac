/* Torch archives: every type of element, views of every shape, and archives that lie. */
#include "tests/support/unit.h"

#include <math.h>
#include <zip.h>
#include "base/bytes.h"
#include "base/file.h"
#include "base/mem.h"
#include "convert/pickle.h"
#include "convert/plan.h"
#include "convert/source.h"
#include "quant/half.h"
#include "tests/support/torch.h"

typedef struct fixture {
    char *folder;
    char path[UNIT_PATH];
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->folder = unit_scratch_new();
    unit_path(f->path, f->folder, "x.pt");
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    unit_scratch_free(f->folder);
    free(f);
    return 0;
}

/* An archive with these views at the top of its pickle and these storages. */
static void write_views(const char *path, const torch_view *views, size_t n, const torch_item *storages,
                        size_t n_storages) {
    nb_buf pickle = {0};
    torch_item items[16];
    pk_begin(&pickle);
    nb_buf_text(&pickle, "}(");
    for (size_t i = 0; i < n; i++) pk_entry_view(&pickle, &views[i]);
    pk_op(&pickle, 'u');
    pk_end(&pickle);
    items[0] = (torch_item){"a/data.pkl", pickle.data, pickle.size, false};
    assert_true(n_storages < COUNT_OF(items));
    for (size_t i = 0; i < n_storages; i++) items[1 + i] = storages[i];
    torch_zip(path, items, n_storages + 1);
    nb_buf_free(&pickle);
}

static nb_source *open_ok(const char *path) {
    nb_source *s = NULL;
    nb_error err = {0};
    if (nb_source_torch_open(&s, path, &err)) fail_msg("%s", err.text);
    assert_non_null(s);
    return s;
}

static void read_all(nb_source *s, const char *name, float *dst) {
    nb_error err = {0};
    const nb_source_tensor *t = nb_source_find(s, name);
    assert_non_null(t);
    if (nb_source_read(s, t, 0, nb_source_rows(t), 0, nb_source_cols(t), dst, &err)) fail_msg("%s", err.text);
}

/* ---- element types ---- */

static void types_widen_exactly(void **state) {
    fixture *f = *state;
    static const float values[4] = {1.5f, -0.0f, 65504.0f, -0x1p-24f};
    uint8_t f32[16], f16[8], bf16[8], f64[32], i64[32] = {0};
    for (size_t i = 0; i < 4; i++) {
        double d = i == 3 ? 0.1 : (double)values[i];
        uint64_t bits;
        memcpy(&bits, &d, sizeof bits);
        nb_put_f32(f32 + 4 * i, values[i]);
        nb_put_u16(f16 + 2 * i, nb_f32_to_f16(values[i]));
        nb_put_u16(bf16 + 2 * i, nb_f32_to_bf16(values[i]));
        nb_put_u64(f64 + 8 * i, bits);
    }
    static const char *const types[] = {"FloatStorage", "HalfStorage", "BFloat16Storage", "DoubleStorage",
                                        "LongStorage"};
    static const char *const names[] = {"f32", "f16", "bf16", "f64", "i64"};
    torch_view views[5];
    const torch_item storages[] = {{"a/data/f32", f32, 16, false},
                                   {"a/data/f16", f16, 8, false},
                                   {"a/data/bf16", bf16, 8, false},
                                   {"a/data/f64", f64, 32, false},
                                   {"a/data/i64", i64, 32, false}};
    for (size_t i = 0; i < 5; i++)
        views[i] = (torch_view){.name = names[i],
                                .type = types[i],
                                .key = names[i],
                                .storage = 4,
                                .n_dims = 1,
                                .dims = {4},
                                .strides = {1}};
    write_views(f->path, views, 5, storages, 5);
    nb_source *s = open_ok(f->path);
    float x[4];
    assert_int_equal(s->n_tensors, 5);
    read_all(s, "f32", x);
    assert_memory_equal(x, values, sizeof x);
    read_all(s, "f16", x);
    assert_memory_equal(x, values, sizeof x);
    read_all(s, "bf16", x);
    for (size_t i = 0; i < 4; i++) assert_true(x[i] == nb_bf16_to_f32(nb_f32_to_bf16(values[i])));
    read_all(s, "f64", x);
    assert_true(x[0] == 1.5f && x[2] == 65504.0f && x[3] == 0.1f);
    nb_error err = {0};
    assert_int_equal(nb_source_read(s, nb_source_find(s, "i64"), 0, 1, 0, 4, x, &err), NB_UNSUPPORTED);
    assert_non_null(strstr(err.text, "'i64' holds i64 numbers"));
    nb_source_close(s);
}

/* ---- views ---- */

enum { ELEMENTS = 50000 };

static const struct {
    const char *what;
    uint64_t offset;
    int n_dims;
    uint64_t dims[TORCH_DIMS], strides[TORCH_DIMS];
} shapes[] = {
    {"contiguous", 0, 2, {20, 30}, {30, 1}},
    {"with an offset", 777, 2, {20, 30}, {30, 1}},
    {"rows of a wider matrix", 5, 2, {20, 30}, {100, 1}},
    {"far apart rows", 0, 2, {10, 3}, {5000, 1}},
    {"transposed", 0, 2, {30, 20}, {1, 30}},
    {"transposed, large", 11, 2, {300, 150}, {1, 301}},
    {"every third", 1, 2, {10, 30}, {90, 3}},
    {"expanded rows", 8, 2, {40, 30}, {0, 1}},
    {"expanded columns", 8, 2, {40, 30}, {1, 0}},
    {"one value", 9, 2, {7, 5}, {0, 0}},
    {"overlapping rows", 0, 2, {40, 30}, {1, 1}},
    {"a vector", 3, 1, {200}, {1}},
    {"a scattered vector", 3, 1, {200}, {200}},
    {"a scalar", 49999, 0, {0}, {0}},
    {"four dimensions", 7, 4, {2, 3, 4, 5}, {1000, 200, 30, 4}},
    {"the last element", 49999, 2, {1, 1}, {1, 1}},
};

static void views_read_their_elements(void **state) {
    fixture *f = *state;
    uint8_t *bytes = malloc(4 * ELEMENTS);
    torch_view views[COUNT_OF(shapes)];
    assert_non_null(bytes);
    for (size_t i = 0; i < ELEMENTS; i++) nb_put_f32(bytes + 4 * i, (float)i);
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        views[i] = (torch_view){.name = shapes[i].what,
                                .type = "FloatStorage",
                                .key = "0",
                                .storage = ELEMENTS,
                                .offset = shapes[i].offset,
                                .n_dims = shapes[i].n_dims};
        memcpy(views[i].dims, shapes[i].dims, sizeof views[i].dims);
        memcpy(views[i].strides, shapes[i].strides, sizeof views[i].strides);
    }
    for (int deflate = 0; deflate < 2; deflate++) {
        const torch_item storage = {"a/data/0", bytes, 4 * ELEMENTS, deflate != 0};
        write_views(f->path, views, COUNT_OF(views), &storage, 1);
        nb_source *s = open_ok(f->path);
        for (size_t i = 0; i < COUNT_OF(shapes); i++) {
            const nb_source_tensor *t = nb_source_find(s, shapes[i].what);
            uint64_t rows = nb_source_rows(t), cols = nb_source_cols(t), r0 = rows / 3, c0 = cols / 4, nr = rows - r0,
                     nc = cols - c0;
            float *x = malloc((size_t)(nr * nc) * sizeof *x);
            nb_error err = {0};
            assert_non_null(x);
            if (nb_source_read(s, t, r0, nr, c0, nc, x, &err)) fail_msg("%s: %s", shapes[i].what, err.text);
            for (uint64_t r = 0; r < nr; r++)
                for (uint64_t c = 0; c < nc; c++) {
                    uint64_t at = shapes[i].offset, rest = r0 + r;
                    if (t->n_dims) at += (c0 + c) * shapes[i].strides[t->n_dims - 1];
                    for (uint32_t d = t->n_dims - (t->n_dims > 0); d-- > 0; rest /= shapes[i].dims[d])
                        at += rest % shapes[i].dims[d] * shapes[i].strides[d];
                    if (x[r * nc + c] != (float)at) fail_msg("%s: [%d, %d]", shapes[i].what, (int)r, (int)c);
                }
            assert_int_equal(nb_source_read(s, t, rows, 1, 0, 1, x, &err), NB_ARGUMENT);
            assert_int_equal(nb_source_read(s, t, 0, 1, cols, 1, x, &err), NB_ARGUMENT);
            free(x);
        }
        nb_source_close(s);
    }
    free(bytes);
}

static void prefixes_are_stripped(void **state) {
    fixture *f = *state;
    static const uint8_t one[4] = {0, 0, 0x80, 0x3f};
    const torch_item storage = {"a/data/0", one, 4, false};
    const torch_view views[] = {{"module._orig_mod.a.b", "FloatStorage", "0", 1, 0, 1, {1}, {1}},
                                {"_orig_mod.module.c", "FloatStorage", "0", 1, 0, 1, {1}, {1}}};
    write_views(f->path, views, 2, &storage, 1);
    nb_source *s = open_ok(f->path);
    float x = 0;
    read_all(s, "a.b", &x);
    assert_true(x == 1.0f);
    assert_non_null(nb_source_find(s, "c"));
    assert_null(nb_source_find(s, "module.c"));
    nb_source_close(s);
}

/* ---- archives that are refused ---- */

static void expect_refusal(const char *path, nb_status status, const char *sentence) {
    nb_source *s = NULL;
    nb_error err = {0};
    nb_status st = nb_source_torch_open(&s, path, &err);
    if (!st) fail_msg("accepted, expected \"%s\"", sentence);
    assert_null(s);
    if (!strstr(err.text, sentence)) fail_msg("\"%s\", expected \"%s\"", err.text, sentence);
    assert_int_equal(st, status);
}

static void tensors_that_do_not_fit_are_refused(void **state) {
    fixture *f = *state;
    uint8_t bytes[48] = {0};
    static const struct {
        const char *sentence;
        nb_status status;
        torch_view views[2];
        size_t n;
    } cases[] = {
        {"has no entry 'a/data/7'", NB_FORMAT, {{"w", "FloatStorage", "7", 12, 0, 1, {12}, {1}}}, 1},
        {"has no entry 'a/data/../x'", NB_FORMAT, {{"w", "FloatStorage", "../x", 12, 0, 1, {12}, {1}}}, 1},
        {"has 48 bytes, expected 13 elements of f32",
         NB_TRUNCATED,
         {{"w", "FloatStorage", "0", 13, 0, 1, {12}, {1}}},
         1},
        {"has 48 bytes, expected 12 elements of f64",
         NB_TRUNCATED,
         {{"w", "DoubleStorage", "0", 12, 0, 1, {12}, {1}}},
         1},
        {"reaches beyond its storage '0' of 12 elements",
         NB_FORMAT,
         {{"w", "FloatStorage", "0", 12, 1, 1, {12}, {1}}},
         1},
        {"'w' is in the checkpoint twice",
         NB_FORMAT,
         {{"w", "FloatStorage", "0", 12, 0, 1, {12}, {1}}, {"module.w", "FloatStorage", "0", 12, 0, 1, {12}, {1}}},
         2},
        {"'w' has no elements", NB_FORMAT, {{"w", "FloatStorage", "0", 12, 0, 2, {12, 0}, {1, 1}}}, 1},
        {"more elements than any machine",
         NB_LIMIT,
         {{"w", "FloatStorage", "0", 12, 0, 3, {1 << 20, 1 << 20, 1 << 20}, {0, 0, 0}}},
         1},
        {"a tensor's name is no plain text", NB_FORMAT, {{"w\n", "FloatStorage", "0", 12, 0, 1, {12}, {1}}}, 1},
    };
    const torch_item storage = {"a/data/0", bytes, sizeof bytes, false};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        write_views(f->path, cases[i].views, cases[i].n, &storage, 1);
        expect_refusal(f->path, cases[i].status, cases[i].sentence);
    }
}

/* Replace every occurrence of a name in the file: local headers and directory. */
static void patch(const char *path, const char *from, const char *to) {
    nb_buf file = {0};
    nb_error err;
    size_t n = strlen(from);
    assert_int_equal(nb_read_file(path, 1 << 20, &file, &err), NB_OK);
    for (size_t i = 0; i + n <= file.size; i++)
        if (!memcmp(file.data + i, from, n)) memcpy(file.data + i, to, n);
    unit_write_file(path, file.data, file.size);
    nb_buf_free(&file);
}

static void archives_that_lie_are_refused(void **state) {
    fixture *f = *state;
    uint8_t bytes[64] = {0};
    nb_buf evil = {0}, plain = {0};
    nb_buf_text(&evil, "\x80\x02" "cposix\nsystem\nX\1");
    nb_buf_append(&evil, "\0\0\0a\x85R.", 7);
    nb_buf_append(&plain, "\x80\x02}.", 4);
    const torch_item data0 = {"a/data/0", bytes, 64, false}, data1 = {"a/data/1", bytes, 64, false};
    const torch_item order = {"a/byteorder", "big", 3, false}, code = {"a/data.pkl", evil.data, evil.size, false};
    const torch_item empty = {"a/data.pkl", plain.data, plain.size, false},
                     other = {"b/data.pkl", plain.data, plain.size, true};
    torch_zip(f->path, (torch_item[]){data0, data1}, 2);
    expect_refusal(f->path, NB_FORMAT, "no entry 'data.pkl'");
    torch_zip(f->path, (torch_item[]){code, data0}, 2);
    expect_refusal(f->path, NB_UNSUPPORTED, "the pickle asks for 'posix.system', which is not allowed");
    torch_zip(f->path, (torch_item[]){empty, other}, 2);
    expect_refusal(f->path, NB_FORMAT, "two entries 'data.pkl'");
    torch_zip(f->path, (torch_item[]){empty, order}, 2);
    expect_refusal(f->path, NB_UNSUPPORTED, "byte order 'big'");
    torch_zip(f->path, (torch_item[]){empty, data0}, 2);
    expect_refusal(f->path, NB_UNSUPPORTED, "without tensors");
    torch_zip(f->path, (torch_item[]){empty, data0, data1}, 3);
    patch(f->path, "a/data/1", "a/data/0");
    expect_refusal(f->path, NB_FORMAT, "in the archive twice");
    unit_write_file(f->path, "PK\3\4 and nothing more", 20);
    expect_refusal(f->path, NB_FORMAT, "not a whole zip file");
    unit_path(f->path, f->folder, "missing.pt");
    expect_refusal(f->path, NB_IO, "cannot be opened");
    nb_buf_free(&evil);
    nb_buf_free(&plain);
}

static void encrypted_entries_are_refused(void **state) {
    fixture *f = *state;
    int code = 0;
    zip_t *z = zip_open(f->path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    assert_non_null(z);
    zip_int64_t at = zip_file_add(z, "a/data.pkl", zip_source_buffer(z, "\x80\x02}.", 4, 0), 0);
    assert_true(at >= 0);
    if (!zip_encryption_method_supported(ZIP_EM_TRAD_PKWARE, 1)) {
        zip_discard(z);
        skip();
    }
    assert_int_equal(zip_file_set_encryption(z, (zip_uint64_t)at, ZIP_EM_TRAD_PKWARE, "secret"), 0);
    assert_int_equal(zip_close(z), 0);
    expect_refusal(f->path, NB_UNSUPPORTED, "it is encrypted");
}

/* A bomb: little in the file, much when unpacked. What is needed is unpacked, and not beyond a limit. */
static void bombs_are_not_unpacked(void **state) {
    fixture *f = *state;
    size_t size = (size_t)NB_PICKLE_MAX_BYTES + 1;
    uint8_t *zeros = calloc(1, size);
    assert_non_null(zeros);
    const torch_item bomb = {"a/data.pkl", zeros, size, true};
    torch_zip(f->path, &bomb, 1);
    free(zeros);
    expect_refusal(f->path, NB_LIMIT, "at most");
}

/* ---- damage ---- */

static void try_file(const char *path) {
    nb_source *s = NULL;
    nb_error err = {0};
    if (nb_source_torch_open(&s, path, &err)) {
        assert_true(err.text[0]);
        return;
    }
    for (size_t i = 0; i < s->n_tensors; i++) {
        const nb_source_tensor *t = &s->tensors[i];
        uint64_t n = nb_source_rows(t) * nb_source_cols(t);
        float *x = n < 1 << 20 ? malloc((size_t)n * sizeof *x) : NULL;
        if (x && nb_dtypes[t->dtype].widen)
            (void)nb_source_read(s, t, 0, nb_source_rows(t), 0, nb_source_cols(t), x, &err);
        free(x);
    }
    nb_source_close(s);
}

static void damage_and_truncation(void **state) {
    fixture *f = *state;
    uint8_t bytes[48];
    nb_buf file = {0};
    nb_error err;
    for (size_t i = 0; i < 12; i++) nb_put_f32(bytes + 4 * i, (float)i);
    const torch_item storage = {"a/data/0", bytes, sizeof bytes, false};
    const torch_view views[] = {{"w", "FloatStorage", "0", 12, 0, 2, {3, 4}, {4, 1}},
                                {"v", "FloatStorage", "0", 12, 1, 2, {2, 3}, {1, 2}}};
    write_views(f->path, views, 2, &storage, 1);
    assert_int_equal(nb_read_file(f->path, 1 << 20, &file, &err), NB_OK);
    for (size_t n = 0; n < file.size; n++) {
        unit_write_file(f->path, file.data, n);
        try_file(f->path);
    }
    for (size_t at = 0; at < file.size; at++)
        for (unsigned bit = 0; bit < 8; bit += 3) {
            file.data[at] ^= (uint8_t)(1u << bit);
            unit_write_file(f->path, file.data, file.size);
            try_file(f->path);
            file.data[at] ^= (uint8_t)(1u << bit);
        }
    nb_buf_free(&file);
}

static void failing_memory(void **state) {
    fixture *f = *state;
    uint8_t bytes[48] = {0};
    const torch_item storage = {"a/data/0", bytes, sizeof bytes, false};
    const torch_view view = {"w", "FloatStorage", "0", 12, 0, 2, {3, 4}, {4, 1}};
    write_views(f->path, &view, 1, &storage, 1);
    for (long n = 0;; n++) {
        nb_source *s = NULL;
        nb_error err = {0};
        float x[12];
        nb_mem_fail_at(n);
        nb_status st = nb_source_torch_open(&s, f->path, &err);
        if (!st) st = nb_source_read(s, nb_source_find(s, "w"), 0, 3, 0, 4, x, &err);
        nb_mem_fail_at(-1);
        nb_source_close(s);
        if (!st) break;
        assert_int_equal(st, NB_MEMORY);
        assert_true(n < 1000);
    }
}

/* ---- what a plan does with tensors: parts, transposed, cropped ---- */

static void plans_read_parts_in_any_orientation(void **state) {
    fixture *f = *state;
    uint8_t *bytes = malloc(4 * ELEMENTS);
    assert_non_null(bytes);
    for (size_t i = 0; i < ELEMENTS; i++) nb_put_f32(bytes + 4 * i, (float)i);
    const torch_item storage = {"a/data/0", bytes, 4 * ELEMENTS, false};
    /* ours [50][40]: 20 rows as they are, then 30 rows stored as columns of a [40][30] */
    const torch_view views[] = {{"a", "FloatStorage", "0", ELEMENTS, 0, 2, {20, 40}, {40, 1}},
                                {"b", "FloatStorage", "0", ELEMENTS, 1000, 2, {40, 30}, {30, 1}}};
    write_views(f->path, views, 2, &storage, 1);
    nb_source *s = open_ok(f->path);
    nb_plan_tensor t = {.spec = {.kind = NB_KIND_MATRIX, .rows = 50, .cols = 40}, .n_parts = 2};
    t.parts[0] = (nb_plan_part){.tensor = nb_source_find(s, "a"), .row = 0, .rows = 20};
    t.parts[1] = (nb_plan_part){.tensor = nb_source_find(s, "b"), .row = 20, .rows = 30, .transpose = true};
    for (uint64_t batch = 1; batch <= 50; batch += 7) {
        static float x[50 * 40];
        nb_error err = {0};
        for (uint64_t row = 0; row < 50; row += batch)
            assert_int_equal(nb_plan_read(&t, s, row, row + batch > 50 ? 50 - row : batch, x + row * 40, &err), NB_OK);
        for (int r = 0; r < 50; r++)
            for (int c = 0; c < 40; c++)
                assert_true(x[r * 40 + c] == (float)(r < 20 ? r * 40 + c : 1000 + c * 30 + (r - 20)));
    }
    nb_source_close(s);
    free(bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(types_widen_exactly),
        TEST(views_read_their_elements),
        TEST(prefixes_are_stripped),
        TEST(tensors_that_do_not_fit_are_refused),
        TEST(archives_that_lie_are_refused),
        TEST(encrypted_entries_are_refused),
        TEST(bombs_are_not_unpacked),
        TEST(damage_and_truncation),
        TEST(failing_memory),
        TEST(plans_read_parts_in_any_orientation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
