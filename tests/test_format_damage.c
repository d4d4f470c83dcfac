/* Every truncation and every changed byte of small files is found, and data damage is laid to the right tensor. */
#include "tests/test_format_util.h"

static const char file_name[] = "test_format_damage.nbl";

static const sample samples[] = {
    PLAIN("m.text", U8, NOISE, .n_dims = 1, .dims = {37}),
    PANELS("z.q8", Q8, NARROW, 5, 40),
    PANELS("a.q4", Q4, NARROW, 3, 20),
    PLAIN("b.norm", BF16, NARROW, .n_dims = 1, .dims = {301}),
    PANELS("c.f16", F16, ZERO, 2, 2),
    PLAIN("last", U32, NOISE, .n_dims = 2, .dims = {3, 2}),
};
enum { N_SAMPLES = sizeof samples / sizeof *samples };

/* A model text that compresses, so that its section is a zstd frame in the compressed file. */
static const char model_json[] = "{\"words\":[\"one\",\"one\",\"one\",\"one\",\"one\",\"one\",\"one\","
                                 "\"one\",\"one\",\"one\"]}";

static const nb_store stores[] = {NB_STORE_ZSTD, NB_STORE_RAW};

static void write_small(nb_store store, nb_buf *bytes) {
    recipe r = {.samples = samples, .n = N_SAMPLES, .model = model_json, .provenance = "{}",
                .options = {.store = store}};
    write_file(file_name, &r);
    read_bytes(file_name, bytes);
}

static void truncation(void **state) {
    (void)state;
    nb_buf bytes = {0};
    for (size_t s = 0; s < sizeof stores / sizeof *stores; s++) {
        write_small(stores[s], &bytes);
        for (size_t n = bytes.size; n-- > 0;) {
            nb_error err;
            nb_reader *r;
            assert_int_equal(truncate(file_name, (off_t)n), 0);
            nb_status st = nb_reader_open(&r, file_name, NULL, &err);
            if (st != NB_TRUNCATED) fail_msg("%zu of %zu bytes: status %d", n, bytes.size, (int)st);
        }
        nb_buf_byte(&bytes, 0); /* and one byte too many */
        put_bytes(file_name, bytes.data, bytes.size);
        nb_error err;
        nb_reader *r;
        assert_int_equal(nb_reader_open(&r, file_name, NULL, &err), NB_FORMAT);
        assert_non_null(strstr(err.text, "follow after the file's end"));
    }
    nb_buf_free(&bytes);
    unlink(file_name);
}

static void put_byte(const char *path, size_t at, int byte) {
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    assert_int_equal(fputc(byte, f), byte);
    assert_int_equal(fclose(f), 0);
}

/* Which tensor owns each byte of the file: its chunks and the gap before them. Built from an undamaged file. */
typedef struct map_entry {
    uint64_t begin, end;
    const char *name;
} map_entry;

static size_t tensor_map(const nb_buf *bytes, map_entry *map) {
    const uint8_t *h = bytes->data, *dir = h + nb_get_u64(h + NB_H_DIR_OFFSET);
    const uint8_t *table = h + nb_get_u64(h + NB_H_CHUNKS_OFFSET);
    const uint8_t *names = dir + N_SAMPLES * NB_TENSOR_BYTES;
    for (size_t i = 0; i < N_SAMPLES; i++) {
        const uint8_t *t = dir + i * NB_TENSOR_BYTES;
        uint32_t first = nb_get_u32(t + NB_T_FIRST_CHUNK);
        const uint8_t *c = table + first * NB_CHUNK_RECORD_BYTES, *before = c - NB_CHUNK_RECORD_BYTES;
        map[i].begin = nb_get_u64(c + NB_C_OFFSET);
        map[i].end = map[i].begin + nb_get_u32(c + NB_C_STORED_BYTES);
        if (first > 0) map[i].begin = nb_get_u64(before + NB_C_OFFSET) + nb_get_u32(before + NB_C_STORED_BYTES);
        for (size_t j = 0; j < N_SAMPLES; j++)
            if (strcmp(samples[j].t.name, (const char *)names + nb_get_u32(t + NB_T_NAME_OFFSET)) == 0)
                map[i].name = samples[j].t.name;
    }
    return N_SAMPLES;
}

typedef struct seen {
    int n;
    char name[NB_MAX_NAME + 1];
    char sentence[256];
} seen;

static void note(void *user, const nb_tensor *t, const char *sentence) {
    seen *s = user;
    s->n++;
    snprintf(s->name, sizeof s->name, "%s", t->name);
    snprintf(s->sentence, sizeof s->sentence, "%s", sentence);
}

/* The others still load. */
static void check_rest(const nb_reader *r, const char *damaged, bool in_gap) {
    uint8_t dst[1 << 14];
    for (size_t i = 0; i < nb_reader_count(r); i++) {
        const nb_tensor *t = nb_reader_at(r, i);
        nb_error err;
        assert_true(t->raw_bytes <= sizeof dst);
        nb_status st = nb_reader_load(r, &(nb_load){t, dst}, 1, NULL, NULL, &err);
        bool bad = !in_gap && strcmp(t->name, damaged) == 0;
        if ((st != NB_OK) != bad) fail_msg("with '%s' damaged, loading '%s' gave %d", damaged, t->name, (int)st);
        if (bad && !strstr(err.text, damaged)) fail_msg("\"%s\" does not name '%s'", err.text, damaged);
    }
}

static void check_flip(const nb_buf *bytes, size_t at, uint8_t mask, const map_entry *map, size_t n_map) {
    nb_error err;
    nb_reader *r;
    const map_entry *owner = NULL;
    for (size_t i = 0; i < n_map; i++)
        if (at >= map[i].begin && at < map[i].end) owner = &map[i];
    put_byte(file_name, at, bytes->data[at] ^ mask);
    nb_status st = nb_reader_open(&r, file_name, NULL, &err);
    if ((st == NB_OK) != (owner != NULL)) fail_msg("byte %zu ^ 0x%02x: opening gave %d", at, mask, (int)st);
    if (!owner) return;
    seen s = {0};
    st = nb_reader_verify(r, NULL, NULL, note, &s, &err);
    if (st != NB_CHECKSUM || s.n != 1 || strcmp(s.name, owner->name) != 0)
        fail_msg("byte %zu ^ 0x%02x, in '%s': verify gave %d and %d tensors, '%s'", at, mask, owner->name, (int)st,
                 s.n, s.name);
    assert_non_null(strstr(err.text, "1 of 6 tensors is damaged"));
    assert_non_null(strstr(s.sentence, owner->name));
    check_rest(r, owner->name, strstr(s.sentence, "gap") != NULL);
    nb_reader_close(r);
}

static void every_byte(void **state) {
    (void)state;
    static const uint8_t masks[] = {0x01, 0x80, 0xff};
    nb_buf bytes = {0};
    for (size_t s = 0; s < sizeof stores / sizeof *stores; s++) {
        map_entry map[N_SAMPLES];
        write_small(stores[s], &bytes);
        size_t n_map = tensor_map(&bytes, map);
        for (size_t m = 0; m < sizeof masks; m++)
            for (size_t at = 0; at < bytes.size; at++) {
                check_flip(&bytes, at, masks[m], map, n_map);
                put_byte(file_name, at, bytes.data[at]);
            }
    }
    nb_buf_free(&bytes);
    unlink(file_name);
}

/* Several damaged tensors: all are told of in file order, on any team; load reports the first in file order. */
static void many_damaged(void **state) {
    (void)state;
    static const sample big[] = {PLAIN("c", U8, NOISE, .n_dims = 1, .dims = {5u << 20}),
                                 PLAIN("a", U8, NOISE, .n_dims = 1, .dims = {3u << 20}),
                                 PLAIN("b", U8, NARROW, .n_dims = 1, .dims = {4u << 20})};
    recipe rec = {.samples = big, .n = 3, .model = "{}", .provenance = "{}"};
    nb_buf bytes = {0};
    write_file(file_name, &rec);
    read_bytes(file_name, &bytes);
    bytes.data[NB_HEADER_BYTES + (4u << 20) + 5] ^= 1; /* chunk 5 of c */
    bytes.data[NB_HEADER_BYTES + (2u << 20) + 5] ^= 1; /* chunk 3 of c */
    bytes.data[NB_HEADER_BYTES + (6u << 20) + 5] ^= 1; /* chunk 2 of a */
    put_bytes(file_name, bytes.data, bytes.size);
    nb_buf_free(&bytes);
    for (int size = 1; size <= 4; size++) {
        nb_error err;
        nb_reader *r;
        nb_team *team = make_team(size);
        seen s = {0};
        OK(nb_reader_open(&r, file_name, NULL, &err));
        assert_int_equal(nb_reader_verify(r, team, NULL, note, &s, &err), NB_CHECKSUM);
        assert_int_equal(s.n, 2);
        assert_string_equal(s.name, "a");
        assert_non_null(strstr(s.sentence, "chunk 2 of 3"));
        assert_non_null(strstr(err.text, "2 of 3 tensors are damaged, the first of them 'c'"));
        nb_load loads[3];
        for (size_t i = 0; i < 3; i++) loads[i] = (nb_load){nb_reader_at(r, i),
                                                            nb_alloc((size_t)nb_reader_at(r, i)->raw_bytes)};
        assert_int_equal(nb_reader_load(r, loads, 3, team, NULL, &err), NB_CHECKSUM);
        assert_non_null(strstr(err.text, "tensor 'c', chunk 3 of 5"));
        for (size_t i = 0; i < 3; i++) nb_free(loads[i].dst);
        nb_reader_close(r);
        nb_team_free(team);
    }
    unlink(file_name);
}

/* When memory runs out at the n-th allocation, everything says so and leaves nothing behind. */
static void memory_runs_out(void **state) {
    (void)state;
    recipe rec = {.samples = samples, .n = N_SAMPLES, .model = model_json, .provenance = "{}"};
    nb_error err;
    nb_status st = NB_MEMORY;
    /* Building a sample allocates too; that allocation is the test's and is skipped by taking the bytes up front. */
    uint8_t *data[N_SAMPLES];
    size_t sizes[N_SAMPLES];
    for (size_t i = 0; i < N_SAMPLES; i++) data[i] = sample_bytes(&samples[i], &sizes[i]);
    unlink(file_name);
    for (long n = 0; st; n++) {
        nb_writer *w = NULL;
        nb_mem_fail_at(n);
        st = nb_writer_create(&w, file_name, &(nb_writer_options){0}, &err);
        for (size_t i = 0; !st && i < rec.n; i++) {
            st = nb_writer_tensor_begin(w, &samples[i].t, &err);
            if (!st) st = nb_writer_tensor_append(w, data[i], sizes[i], &err);
            if (!st) st = nb_writer_tensor_end(w, &err);
        }
        if (!st) st = nb_writer_commit(w, model_json, "{}", NULL, NULL, &err);
        nb_writer_close(w);
        nb_mem_fail_at(-1);
        if (st && (st != NB_MEMORY || nb_file_exists(file_name))) fail_msg("allocation %ld: %d, %s", n, (int)st,
                                                                           err.text);
    }
    for (size_t i = 0; i < N_SAMPLES; i++) nb_free(data[i]);
    st = NB_MEMORY;
    for (long n = 0; st; n++) {
        uint8_t dst[1 << 14];
        nb_reader *r = NULL;
        nb_mem_fail_at(n);
        st = nb_reader_open(&r, file_name, NULL, &err);
        if (!st) st = nb_reader_load(r, &(nb_load){nb_reader_at(r, 0), dst}, 1, NULL, NULL, &err);
        if (!st) st = nb_reader_verify(r, NULL, NULL, NULL, NULL, &err);
        nb_reader_close(r);
        nb_mem_fail_at(-1);
        if (st && st != NB_MEMORY) fail_msg("allocation %ld: %d, %s", n, (int)st, err.text);
    }
    unlink(file_name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truncation),
        cmocka_unit_test(every_byte),
        cmocka_unit_test(many_damaged),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
