#include "tests/support/unit.h"

#include "base/mem.h"

static bool aligned(const void *p) {
    return (uintptr_t)p % NB_ALIGN == 0;
}

static void allocations_are_aligned(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 63, 64, 65, 4096, 1000003};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        uint8_t *p = nb_alloc(sizes[i]), *q = nb_calloc(sizes[i], 3);
        assert_non_null(p);
        assert_non_null(q);
        assert_true(aligned(p) && aligned(q));
        if (sizes[i]) memset(p, 0xA5, sizes[i]);
        for (size_t j = 0; j < 3 * sizes[i]; j++) assert_int_equal(q[j], 0);
        nb_free(p);
        nb_free(q);
    }
    nb_free(NULL);
}

static void impossible_sizes_give_null(void **state) {
    (void)state;
    assert_null(nb_calloc(SIZE_MAX / 2, 3));
    assert_null(nb_calloc(SIZE_MAX, SIZE_MAX));
    assert_null(nb_strndup("", SIZE_MAX));
}

static void realloc_keeps_the_bytes(void **state) {
    (void)state;
    uint8_t *p = nb_realloc(NULL, 0, 100);
    assert_non_null(p);
    for (size_t i = 0; i < 100; i++) p[i] = (uint8_t)i;
    p = nb_realloc(p, 100, 5000);
    assert_non_null(p);
    assert_true(aligned(p));
    for (size_t i = 0; i < 100; i++) assert_int_equal(p[i], i);
    p = nb_realloc(p, 5000, 10);
    assert_non_null(p);
    for (size_t i = 0; i < 10; i++) assert_int_equal(p[i], i);
    nb_mem_fail_at(0);
    assert_null(nb_realloc(p, 10, 20));
    nb_mem_fail_at(-1);
    assert_int_equal(p[9], 9); /* still ours */
    nb_free(p);
}

static void strings(void **state) {
    (void)state;
    char *a = nb_strdup("nibble"), *b = nb_strndup("nibble", 3), *c = nb_strndup(NULL, 0);
    assert_string_equal(a, "nibble");
    assert_string_equal(b, "nib");
    assert_string_equal(c, "");
    nb_free(a);
    nb_free(b);
    nb_free(c);
}

static void oom_says_what_and_how_much(void **state) {
    (void)state;
    nb_error err;
    assert_int_equal(nb_oom(&err, "KV pages", 4096), NB_MEMORY);
    assert_string_equal(err.text, "out of memory: KV pages, 4096 bytes");
}

/* One of each kind; the number of the one that fails comes back, or -1. */
static int allocate_one_of_each(void) {
    nb_region region;
    void *p[6];
    p[0] = nb_alloc(1);
    p[1] = nb_calloc(1, 1);
    p[2] = nb_realloc(NULL, 0, 1);
    p[3] = nb_strdup("x");
    p[4] = nb_strndup("x", 1);
    nb_status status = nb_region_alloc(&region, 1, "region", NULL);
    p[5] = region.data;
    assert_int_equal(status, region.data ? NB_OK : NB_MEMORY);
    int failed = -1;
    for (int i = 0; i < 6; i++)
        if (!p[i]) {
            assert_int_equal(failed, -1);
            failed = i;
        }
    for (int i = 0; i < 5; i++) nb_free(p[i]);
    nb_region_free(&region);
    return failed;
}

static void the_nth_allocation_fails_once(void **state) {
    (void)state;
    nb_mem_fail_at(-1);
    for (int n = 0; n < 6; n++) {
        nb_mem_fail_at(n);
        assert_int_equal(allocate_one_of_each(), n);
        assert_int_equal(allocate_one_of_each(), -1);
        assert_int_equal(nb_mem_fail_at(-1), 12);
    }
    assert_int_equal(allocate_one_of_each(), -1);
    assert_int_equal(nb_mem_fail_at(-1), 6);
}

static void regions_are_zero_and_page_aligned(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 4096, 4097, (2 << 20) - 1, 2 << 20, (5 << 20) + 12345};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        nb_region region;
        nb_error err;
        assert_int_equal(nb_region_alloc(&region, sizes[i], "test", &err), NB_OK);
        assert_non_null(region.data);
        assert_int_equal(region.size, sizes[i]);
        assert_int_equal((uintptr_t)region.data % 4096, 0);
        if (sizes[i] >= 2 << 20) assert_int_equal((uintptr_t)region.data % (2 << 20), 0);
        uint8_t *p = region.data;
        for (size_t j = 0; j < sizes[i]; j += 509) assert_int_equal(p[j], 0);
        if (sizes[i]) memset(p, 1, sizes[i]);
        nb_region_free(&region);
        assert_null(region.data);
        nb_region_free(&region);
    }
    nb_region_free(NULL);
}

static void impossible_regions_are_refused(void **state) {
    (void)state;
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 4095, SIZE_MAX / 2 + 1, SIZE_MAX / 2};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        nb_region region = {.data = &region, .size = 1};
        nb_error err;
        assert_int_equal(nb_region_alloc(&region, sizes[i], "weights", &err), NB_MEMORY);
        assert_null(region.data);
        assert_memory_equal(err.text, "out of memory: weights, ", 24);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned),
        cmocka_unit_test(impossible_sizes_give_null),
        cmocka_unit_test(realloc_keeps_the_bytes),
        cmocka_unit_test(strings),
        cmocka_unit_test(oom_says_what_and_how_much),
        cmocka_unit_test(the_nth_allocation_fails_once),
        cmocka_unit_test(regions_are_zero_and_page_aligned),
        cmocka_unit_test(impossible_regions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
