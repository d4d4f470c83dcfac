/* The hash of a checkpoint's files: the same whatever is read, in whatever order, and nothing is read twice. */
#include <xxhash.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "convert/container.h"
#include "convert/hash.h"
#include "tests/support/conversion.h"
#include "tests/support/safetensors.h"

enum { BIG = 3 * NB_HASH_PIECE + 12345 };

/* By its definition, of whole files. */
static uint64_t hash_of(const nb_buf *files, size_t n) {
    uint8_t hashes[8 * 64];
    size_t used = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t at = 0; at < files[i].size; at += NB_HASH_PIECE, used += 8)
            nb_put_u64(hashes + used, XXH3_64bits(files[i].data + at, nb_min_size(files[i].size - at, NB_HASH_PIECE)));
    return XXH3_64bits(hashes, used);
}

typedef struct read {
    uint64_t at;
    size_t n;
} read;

/* Files of `bytes` random bytes; the first of two is empty. */
typedef struct pair {
    char empty[UNIT_PATH], path[UNIT_PATH];
    nb_buf files[2];
    uint8_t *room;
} pair;

static void make_pair(pair *p, const char *folder, size_t bytes) {
    uint64_t seed = 5;
    *p = (pair){.room = nb_alloc(bytes)};
    uint8_t *random = nb_buf_extend(&p->files[1], bytes);
    for (size_t i = 0; i < bytes; i++) random[i] = (uint8_t)unit_random(&seed);
    unit_write_file(unit_path(p->path, folder, "big"), random, bytes);
    unit_write_file(unit_path(p->empty, folder, "empty"), "", 0);
}

static void free_pair(pair *p) {
    nb_free(p->room);
    nb_buf_free(&p->files[1]);
}

static void check_reads(const pair *p, const read *reads, size_t n, uint64_t expected) {
    const char *const paths[] = {p->empty, p->path};
    nb_file file;
    nb_hasher *h;
    nb_error err;
    uint64_t total, hash, left;
    assert_int_equal(nb_file_open(&file, p->path, &err), NB_OK);
    nb_file *const handles[] = {NULL, &file};
    assert_int_equal(nb_hasher_start(&h, paths, handles, 2, &total, &err), NB_OK);
    assert_int_equal(total, p->files[1].size);
    for (size_t k = 0; k < n; k++) assert_int_equal(nb_file_read(&file, reads[k].at, reads[k].n, p->room, &err), NB_OK);
    assert_int_equal(nb_hasher_finish(h, &hash, &left, &err), NB_OK);
    assert_int_equal(left, expected);
    assert_true(hash == hash_of(p->files, 2));
    nb_hasher_free(h);
    assert_null(file.tap.see);
    nb_file_close(&file);
}

static void every_order_gives_the_definition(void **state) {
    static const struct {
        read reads[6];
        uint64_t left; /* of BIG bytes */
    } cases[] = {
        {{{0, 0}}, BIG},
        {{{0, BIG}}, 0},
        {{{2 * NB_HASH_PIECE, BIG - 2 * NB_HASH_PIECE}, {0, 2 * NB_HASH_PIECE}}, 0},
        {{{0, 100}, {100, NB_HASH_PIECE}, {NB_HASH_PIECE + 100, BIG - NB_HASH_PIECE - 100}}, 0},
        {{{0, 100}, {50, 100}, {0, 10}, {150, BIG - 150}}, 0},                             /* overlaps count once */
        {{{100, BIG - 100}}, 100}, /* what comes early is kept */
        {{{0, 100}, {200, BIG - 200}}, 100},
        {{{200, 100}, {400, 100}, {0, 50}}, BIG - 150}, /* next to what is kept already */
        {{{200, 100}, {300, BIG - 300}, {0, 250}}, 0},
        {{{3 * NB_HASH_PIECE, 1}, {NB_HASH_PIECE, NB_HASH_PIECE}}, BIG - NB_HASH_PIECE - 1},
        {{{BIG - 1, 1}, {NB_HASH_PIECE - 1, 2}}, BIG - 3},
    };
    pair p;
    make_pair(&p, *state, BIG);
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_reads(&p, cases[i].reads, COUNT_OF(cases[i].reads), cases[i].left);
    free_pair(&p);
}

/* Of more pieces than that some are read again. */
static void early_bytes_of_16_pieces_are_kept(void **state) {
    enum { KEPT = 16, PIECES = 20, EARLY = 10 };
    read reads[PIECES];
    pair p;
    make_pair(&p, *state, (size_t)PIECES * NB_HASH_PIECE);
    for (size_t i = 0; i < PIECES; i++) reads[i] = (read){i * NB_HASH_PIECE + 1, EARLY};
    check_reads(&p, reads, KEPT, p.files[1].size - (size_t)KEPT * EARLY);
    check_reads(&p, reads, PIECES, p.files[1].size - (size_t)KEPT * EARLY);
    free_pair(&p);
}

/* Every container, its tensors read from the last to the first: what is left are beginnings of pieces that two tensors
 * share, and what stands around the tensors. */
static void containers_are_seen(void **state) {
    fixture *f = *state;
    char path[UNIT_PATH];
    torch_add(&f->model, "a", 600, 512);
    torch_add(&f->model, "b", 1024, 512);
    torch_add(&f->model, "c", 700, 512);
    static const char *const names[] = {"x.safetensors", "x.pt"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        nb_source *s;
        nb_hasher *h;
        nb_error err = {0};
        nb_buf file = {0};
        uint64_t total, hash, left;
        unit_path(path, f->folder, names[i]);
        if (i) torch_save(&f->model, path, NULL, NULL);
        else safetensors_save(&f->model, 0, f->model.n, path);
        if (nb_container_open(&s, path, &err)) fail_msg("%s", err.text);
        assert_int_equal(nb_hasher_start(&h, s->files, s->handles, s->n_files, &total, &err), NB_OK);
        float *x = nb_alloc(1024 * 512 * sizeof *x);
        for (size_t t = s->n_tensors; t-- > 0;)
            assert_int_equal(nb_source_read(s, &s->tensors[t], 0, nb_source_rows(&s->tensors[t]), 0, 512, x, &err),
                             NB_OK);
        assert_int_equal(nb_hasher_finish(h, &hash, &left, &err), NB_OK);
        assert_int_equal(nb_read_file(path, 1 << 24, &file, &err), NB_OK);
        assert_true(hash == hash_of(&file, 1));
        if (left > 3 * NB_HASH_PIECE)
            fail_msg("%s: %llu bytes of %llu are read again", names[i], (unsigned long long)left,
                     (unsigned long long)total);
        nb_free(x);
        nb_buf_free(&file);
        nb_hasher_free(h);
        nb_source_close(s);
    }
}

static void memory_may_fail(void **state) {
    const char *folder = *state;
    char path[UNIT_PATH];
    static const uint8_t bytes[100];
    uint8_t part[60];
    unit_write_file(unit_path(path, folder, "small"), bytes, sizeof bytes);
    for (long n = 0;; n++) {
        const char *const paths[] = {path};
        nb_file file;
        nb_hasher *h = NULL;
        nb_error err;
        uint64_t total, hash;
        assert_int_equal(nb_file_open(&file, path, &err), NB_OK);
        nb_file *const handles[] = {&file};
        nb_mem_fail_at(n);
        nb_status st = nb_hasher_start(&h, paths, handles, 1, &total, &err);
        if (!st) st = nb_file_read(&file, 0, sizeof part, part, &err);
        if (!st) st = nb_hasher_finish(h, &hash, NULL, &err);
        nb_mem_fail_at(-1);
        nb_hasher_free(h);
        nb_file_close(&file);
        if (!st) break;
        assert_int_equal(st, NB_MEMORY);
        assert_true(n < 100);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_order_gives_the_definition, unit_scratch_setup, unit_scratch_teardown),
        cmocka_unit_test_setup_teardown(early_bytes_of_16_pieces_are_kept, unit_scratch_setup, unit_scratch_teardown),
        CONVERSION_TEST(containers_are_seen),
        cmocka_unit_test_setup_teardown(memory_may_fail, unit_scratch_setup, unit_scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
