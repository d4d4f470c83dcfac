/* Every form of a chunk: a bijection, in the order that FORMAT.md describes, for every type and shape that it fits. */
#include <zstd.h>
#include "format/chunk.h"
#include "quant/panel.h"
#include "tests/test_format_util.h"

/* Below, at and above a block, a strip and a panel; several panels of several strips. */
static const uint64_t shapes[][2] = {{1, 1}, {16, 32}, {17, 33}, {48, 128}, {33, 130}, {80, 700}};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* Call `check` for every form with a first chunk of every type, layout and shape that it fits, its bytes random. */
static void walk(void (*check)(nb_chunk_form form, const nb_tensor *t, const nb_geometry *g, const uint8_t *raw,
                               size_t n)) {
    for (int form = 0; form < NB_FORM_COUNT; form++) {
        int fitted = 0;
        for (int i = 0; i < NB_TYPE_COUNT * 2 * N_SHAPES; i++) {
            sample s = {.t = {.name = "t", .type = (nb_type)(i / 2 / N_SHAPES), .layout = (nb_layout)(i / N_SHAPES % 2),
                              .n_dims = 2},
                        .fill = form % 2 ? FILL_NOISE : FILL_NARROW};
            memcpy(s.t.dims, shapes[i % N_SHAPES], sizeof shapes[0]);
            nb_geometry g;
            size_t n;
            if (nb_tensor_check(&s.t, NB_ARGUMENT, &g, NULL) || !nb_form_infos[form].fits(&g)) continue;
            uint8_t *raw = sample_bytes(&s, &n);
            check((nb_chunk_form)form, &s.t, &g, raw, nb_geometry_chunk(&g, 0));
            nb_free(raw);
            fitted++;
        }
        assert_true(fitted > 0);
    }
}

/* Exactly as large, for the sanitizers. */
static uint8_t *gathered(nb_chunk_form form, const nb_geometry *g, const uint8_t *raw, size_t n) {
    uint8_t *formed = nb_alloc(n);
    assert_non_null(formed);
    memset(formed, 0xa5, n);
    nb_form_infos[form].gather(g, raw, n, formed);
    return formed;
}

static void check_inverse(nb_chunk_form form, const nb_tensor *t, const nb_geometry *g, const uint8_t *raw, size_t n) {
    uint8_t *formed = gathered(form, g, raw, n), *back = nb_alloc(n);
    size_t parts[NB_MAX_PARTS] = {0}, sum = 0;
    nb_form_infos[form].scatter(g, formed, n, back);
    if (memcmp(back, raw, n) != 0)
        fail_msg("%s of %s comes back changed", nb_form_infos[form].name, nb_types[t->type].name);
    nb_form_infos[form].parts(g, n, parts);
    for (int i = 0; i < NB_MAX_PARTS; i++) sum += parts[i];
    assert_int_equal(sum, n);
    nb_free(formed);
    nb_free(back);
}
static void inverse(void **state) {
    (void)state;
    walk(check_inverse);
}

/* Any form that fits can be read, also those that the writer no longer chooses. */
static void check_coder(nb_chunk_form form, const nb_tensor *t, const nb_geometry *g, const uint8_t *raw, size_t n) {
    nb_error err;
    nb_coder *writes, *reads;
    nb_chunk c;
    uint8_t *stored = nb_alloc(nb_chunk_bound(n)), *back = nb_alloc(n);
    (void)t;
    OK(nb_coders_create(&writes, 1, NB_CODER_WRITES, n, &err));
    OK(nb_coders_create(&reads, 1, NB_CODER_READS, n, &err));
    for (int level = 0; level < 4; level += 3) {
        OK(nb_chunk_encode(writes, g, form, level, raw, n, stored, &c, &err));
        assert_int_equal(c.form, c.method == NB_METHOD_RAW ? NB_FORM_MEMORY : form);
        memset(back, 0, n);
        OK(nb_chunk_decode(reads, g, &c, stored, back, &err));
        assert_memory_equal(back, raw, n);
    }
    nb_coders_free(writes, 1);
    nb_coders_free(reads, 1);
    nb_free(stored);
    nb_free(back);
}
static void coder(void **state) {
    (void)state;
    walk(check_coder);
}

/* Where section 5 puts the bytes, by its words. */

/* Bits `at` and up of a plane's byte. */
static unsigned bits(const uint8_t *plane, size_t byte, size_t at, unsigned n) {
    return plane[byte] >> at & ((1u << n) - 1);
}

static void check_code(const nb_tensor *t, const uint8_t *coarse, const uint8_t *fine, size_t r, size_t c,
                       unsigned code) {
    unsigned width = t->type == NB_TYPE_Q8 ? 8 : t->type == NB_TYPE_Q6 ? 6 : 4, sign = code >> (width - 1);
    unsigned m = (sign ? ~code : code) & ((1u << (width - 1)) - 1);
    size_t i = r * 4 + c % 4, half = c / 16, high = c % 8 / 4;
    if (t->type == NB_TYPE_Q8) {
        assert_int_equal(bits(coarse, c % 16 / 4 * 64 + i, half * 4, 4), m >> 3);
        assert_int_equal(bits(fine, c % 16 / 4 * 64 + i, half * 4, 4), sign << 3 | (m & 7));
    } else if (t->type == NB_TYPE_Q4) {
        assert_int_equal(bits(coarse, c % 16 / 8 * 64 + i, high * 4 + half * 2, 2), m >> 1);
        assert_int_equal(bits(fine, c % 16 / 8 * 64 + i, high * 4 + half * 2, 2), sign << 1 | (m & 1));
    } else {
        assert_int_equal(bits(coarse, half * 64 + i, c % 16 / 4 * 2, 2), m >> 3);
        assert_int_equal(bits(fine, half * 128 + c % 16 / 8 * 64 + i, high * 4, 4), sign << 3 | (m & 7));
    }
}

static void check_panel(const nb_tensor *t, const nb_geometry *g, const uint8_t *panel, const uint8_t *lines,
                        const uint8_t *coarse, const uint8_t *fine) {
    size_t block = nb_types[t->type].block_bytes, coarse_bytes = t->type == NB_TYPE_Q8 ? 256 : 128;
    panel += NB_ROW_SCALE_BYTES;
    for (size_t b = 0; b < g->n_blocks; b++) {
        if (b % 4 == 0) {
            assert_memory_equal(lines + b / 4 * 64, panel, 64);
            panel += 64;
        }
        for (size_t r = 0; r < 16; r++)
            for (size_t c = 0; c < 32; c++) {
                unsigned code = nb_code_of(t->type, panel, r, c);
                check_code(t, coarse, fine, r, c, t->type == NB_TYPE_Q6 ? (code + 32) & 63 : code); /* as stored */
            }
        coarse += coarse_bytes;
        fine += block - coarse_bytes;
        panel += block;
    }
}

static void check_magnitudes(const nb_tensor *t, const nb_geometry *g, const uint8_t *raw, const uint8_t *formed,
                             size_t n) {
    size_t panel = (size_t)g->panel_bytes, n_panels = n / panel, n_blocks = (size_t)g->n_blocks;
    size_t strips = (n_blocks + 3) / 4, coarse = n_blocks * (t->type == NB_TYPE_Q8 ? 256 : 128);
    size_t fine = n_blocks * nb_types[t->type].block_bytes - coarse;
    const uint8_t *lines = formed + 64 * n_panels, *planes = lines + 64 * strips * n_panels;
    for (size_t p = 0; p < n_panels; p++) {
        for (size_t i = 0; i < 64; i++)
            assert_int_equal(formed[i % 4 * 16 * n_panels + 16 * p + i / 4], raw[p * panel + i]);
        check_panel(t, g, raw + p * panel, lines + 64 * strips * p, planes + coarse * p,
                    planes + coarse * n_panels + fine * p);
    }
}

static void check_scales(const nb_geometry *g, const uint8_t *raw, const uint8_t *formed, size_t n) {
    size_t panel = (size_t)g->panel_bytes, n_panels = n / panel, n_blocks = (size_t)g->n_blocks;
    size_t block = nb_types[g->type].block_bytes, strips = (n_blocks + 3) / 4;
    const uint8_t *lines = formed + 64 * n_panels, *codes = lines + 64 * strips * n_panels;
    for (size_t p = 0; p < n_panels; p++) {
        assert_memory_equal(formed + 64 * p, raw + panel * p, 64);
        for (size_t b = 0; b < n_blocks; b++) {
            const uint8_t *strip = raw + panel * p + 64 + b / 4 * (64 + 4 * block);
            assert_memory_equal(lines + 64 * (strips * p + b / 4), strip, 64);
            assert_memory_equal(codes + block * (n_blocks * p + b), strip + 64 + b % 4 * block, block);
        }
    }
}

static void check_words(nb_chunk_form form, const nb_tensor *t, const nb_geometry *g, const uint8_t *raw, size_t n) {
    uint8_t *formed = gathered(form, g, raw, n);
    size_t width = nb_types[t->type].plain_bytes, count = width ? n / width : 0;
    bool turned = form == NB_FORM_EXPONENT2 || form == NB_FORM_EXPONENT4;
    if (form == NB_FORM_MAGNITUDES) check_magnitudes(t, g, raw, formed, n);
    else if (form == NB_FORM_SCALES) check_scales(g, raw, formed, n);
    else if (form == NB_FORM_MEMORY) assert_memory_equal(formed, raw, n);
    else for (size_t i = 0; i < count; i++) {
        uint8_t element[4];
        memcpy(element, raw + i * width, width);
        unsigned upper = element[width - 2] | (unsigned)element[width - 1] << 8, left = upper << 3 | upper >> 13;
        if (turned) nb_put_u16(element + width - 2, (uint16_t)left);
        for (size_t j = 0; j < width; j++) assert_int_equal(formed[j * count + i], element[j]);
    }
    nb_free(formed);
}
static void words(void **state) {
    (void)state;
    walk(check_words);
}

/* Parts do not share a table: bytes below 128 and bytes above take seven bits each, but eight together. */
static void tables_of_parts(void **state) {
    enum { N = 80000 };
    nb_error err;
    nb_coder *one;
    nb_chunk c;
    nb_geometry g = {.type = NB_TYPE_BF16};
    uint8_t *raw = nb_alloc(N), *stored = nb_alloc(nb_chunk_bound(N));
    uint64_t random = 1;
    (void)state;
    for (size_t i = 0; i < N; i++) raw[i] = (uint8_t)((random64(&random) >> 20 & 127) | (i % 2 ? 128 : 0));
    OK(nb_coders_create(&one, 1, NB_CODER_WRITES, N, &err));
    OK(nb_chunk_encode(one, &g, NB_FORM_PLANES2, 1, raw, N, stored, &c, &err));
    assert_int_equal(c.method, NB_METHOD_ZSTD);
    assert_true(c.stored_bytes < N / 8 * 7 + 300);
    nb_coders_free(one, 1);
    nb_free(stored);
    nb_free(raw);
}

/* What the writer chooses. */
static void chosen(void **state) {
    static const nb_chunk_form forms[NB_TYPE_COUNT] = {
        [NB_TYPE_F32] = NB_FORM_EXPONENT4, [NB_TYPE_F16] = NB_FORM_PLANES2,   [NB_TYPE_BF16] = NB_FORM_EXPONENT2,
        [NB_TYPE_Q8] = NB_FORM_MAGNITUDES, [NB_TYPE_Q4] = NB_FORM_MAGNITUDES, [NB_TYPE_Q6] = NB_FORM_MAGNITUDES,
        [NB_TYPE_U8] = NB_FORM_MEMORY,     [NB_TYPE_U32] = NB_FORM_PLANES4,
    };
    (void)state;
    for (int type = 0; type < NB_TYPE_COUNT; type++)
        assert_int_equal(nb_form_of(&(nb_geometry){.type = (nb_type)type}), forms[type]);
}

/* A file of the first version opens: its forms, and the writer's way to compress them, are those of that time. */
static void first_version(void **state) {
    static const sample samples[] = {
        PLAIN("offsets", U32, NARROW, .n_dims = 1, .dims = {77}), PLAIN("norm", F32, NARROW, .n_dims = 1, .dims = {60}),
        PANELS("q8", Q8, NARROW, 17, 40),                        PANELS("q6", Q6, NARROW, 3, 160),
        PANELS("q4", Q4, NARROW, 17, 140),                       PANELS("bf16", BF16, NARROW, 2, 2),
        PANELS("f16", F16, NARROW, 2, 2),
    };
    enum { N = sizeof samples / sizeof *samples };
    nb_error err;
    nb_reader *r;
    (void)state;
    OK(nb_reader_open(&r, NIBBLE_TEST_DATA "/data/version-1.0.nbl", NULL, &err));
    assert_int_equal(nb_reader_count(r), N);
    for (int i = 0; i < N; i++) {
        size_t n;
        uint8_t *want = sample_bytes(&samples[i], &n), *got = nb_alloc(n);
        const nb_tensor *t = nb_reader_find(r, samples[i].t.name);
        assert_non_null(t);
        OK(nb_reader_load(r, &(nb_load){t, got}, 1, NULL, NULL, &err));
        assert_memory_equal(got, want, n);
        assert_string_equal(nb_reader_form(r, t), nb_types[t->type].scaled              ? "scales"
                                                  : nb_types[t->type].plain_bytes == 2 ? "planes2"
                                                                                       : "planes4");
        nb_free(want);
        nb_free(got);
    }
    nb_reader_close(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(inverse), cmocka_unit_test(coder), cmocka_unit_test(words),
                                       cmocka_unit_test(tables_of_parts), cmocka_unit_test(first_version),
                                       cmocka_unit_test(chosen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
