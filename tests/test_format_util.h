/* Small .nbl files for the tests of format/: deterministic tensors, whole files as bytes, scratch files in the current
 * directory. Everything stops the test when it fails, except where a test asks for the status. */
#ifndef NB_TESTS_TEST_FORMAT_UTIL_H
#define NB_TESTS_TEST_FORMAT_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/bytes.h"
#include "base/file.h"
#include "base/mem.h"
#include "format/layout.h"
#include "format/reader.h"
#include "format/tensor.h"
#include "format/writer.h"

typedef enum fill { FILL_NOISE, FILL_NARROW, FILL_ZERO, FILL_HALF } fill; /* incompressible ... half of it zeros */

typedef struct sample {
    nb_tensor t;
    fill fill;
} sample;

#define PLAIN(NAME, TYPE, FILL, ...) \
    {{.name = NAME, .type = NB_TYPE_##TYPE, .layout = NB_LAYOUT_PLAIN, __VA_ARGS__}, FILL_##FILL}
#define PANELS(NAME, TYPE, FILL, ROWS, COLS) \
    {{.name = NAME, .type = NB_TYPE_##TYPE, .layout = NB_LAYOUT_PANELS, .n_dims = 2, .dims = {ROWS, COLS}}, FILL_##FILL}

#define OK(call) do { if (call) fail_msg("%s: %s", #call, err.text); } while (0)

static inline uint64_t random64(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* The bytes of a sample, the same in every run; free with nb_free. */
static inline uint8_t *sample_bytes(const sample *s, size_t *n) {
    nb_geometry g;
    nb_error err;
    OK(nb_tensor_check(&s->t, NB_ARGUMENT, &g, &err));
    *n = (size_t)g.raw_bytes;
    uint8_t *p = nb_alloc(*n);
    assert_non_null(p);
    uint64_t state = 0x9e3779b97f4a7c15u;
    for (const char *c = s->t.name; *c; c++) state = state * 31 + (uint8_t)*c;
    for (size_t i = 0; i < *n; i++) {
        uint64_t r = random64(&state) >> 11;
        bool noise = s->fill == FILL_NOISE || (s->fill == FILL_HALF && i < *n / 2);
        p[i] = (uint8_t)(noise ? r : s->fill == FILL_NARROW ? (r & 7) + (r >> 8 & 7) : 0);
    }
    return p;
}

/* Write one sample in pieces of a few odd sizes. */
static inline nb_status write_sample(nb_writer *w, const sample *s, nb_error *err) {
    size_t n, at = 0, piece = 1;
    uint8_t *p = sample_bytes(s, &n);
    nb_status st = nb_writer_tensor_begin(w, &s->t, err);
    for (; !st && at < n; piece = piece * 5 + 3) {
        size_t part = piece < n - at ? piece : n - at;
        st = nb_writer_tensor_append(w, p + at, part, err);
        at += part;
    }
    if (!st) st = nb_writer_tensor_end(w, err);
    nb_free(p);
    return st;
}

typedef struct recipe {
    const sample *samples;
    size_t n;
    const char *model, *provenance;
    nb_writer_options options;
    uint64_t identity, file_bytes; /* results */
} recipe;

static inline nb_status try_write_file(const char *path, recipe *r, nb_error *err) {
    nb_writer *w = NULL;
    nb_writer_options options = r->options;
    options.overwrite = true;
    nb_status st = nb_writer_create(&w, path, &options, err);
    for (size_t i = 0; !st && i < r->n; i++) st = write_sample(w, &r->samples[i], err);
    if (!st) st = nb_writer_commit(w, r->model, r->provenance, &r->identity, &r->file_bytes, err);
    nb_writer_close(w);
    return st;
}

static inline void write_file(const char *path, recipe *r) {
    nb_error err;
    OK(try_write_file(path, r, &err));
}

static inline void read_bytes(const char *path, nb_buf *out) {
    nb_error err;
    nb_buf_clear(out);
    OK(nb_read_file(path, SIZE_MAX / 2, out, &err));
}

/* Not atomic and not synced: damage tests write thousands. */
static inline void put_bytes(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static inline nb_team *make_team(int size) {
    nb_error err;
    nb_team *team = NULL;
    OK(nb_team_create(&team, size, &err));
    return team;
}

#endif
