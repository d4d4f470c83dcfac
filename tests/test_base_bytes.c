/* The headers without a .c file: bytes, checked, progress; and the buffer that writes what bytes.h reads. */
#include "tests/support/unit.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/mem.h"
#include "base/progress.h"

static void little_endian_fields(void **state) {
    (void)state;
    static const uint8_t bytes[] = {0x81, 0x92, 0xA3, 0xB4, 0xC5, 0xD6, 0xE7, 0xF8};
    assert_int_equal(nb_get_u16(bytes), 0x9281);
    assert_int_equal(nb_get_u32(bytes), 0xB4A39281);
    assert_true(nb_get_u64(bytes) == UINT64_C(0xF8E7D6C5B4A39281));
    static const uint8_t minus_two[] = {0, 0, 0, 0xC0}, pi[] = {0x18, 0x2D, 0x44, 0x54, 0xFB, 0x21, 0x09, 0x40};
    assert_true(nb_get_f32(minus_two) == -2.0F);
    assert_true(nb_get_f64(pi) == 3.141592653589793);
    uint8_t out[8];
    nb_put_u16(out, 0x9281);
    assert_memory_equal(out, bytes, 2);
    nb_put_u32(out, 0xB4A39281);
    assert_memory_equal(out, bytes, 4);
    nb_put_u64(out, UINT64_C(0xF8E7D6C5B4A39281));
    assert_memory_equal(out, bytes, 8);
    nb_put_f32(out, -2.0F);
    assert_memory_equal(out, minus_two, 4);
}

static void cursor_reads_to_the_end(void **state) {
    (void)state;
    uint8_t data[15];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i + 1);
    nb_cursor c = nb_cursor_over(data, sizeof data);
    assert_int_equal(nb_take_u8(&c), 1);
    assert_int_equal(nb_take_u16(&c), 0x0302);
    assert_int_equal(nb_take_u32(&c), 0x07060504);
    assert_true(nb_take_u64(&c) == UINT64_C(0x0F0E0D0C0B0A0908));
    assert_false(c.bad);
    assert_int_equal(c.pos, sizeof data);
    assert_non_null(nb_take(&c, 0)); /* nothing of nothing is fine */
    assert_int_equal(nb_take_u8(&c), 0);
    assert_true(c.bad);
}

/* Every width over every length that is too short, and the error stays. */
static void cursor_error_is_sticky(void **state) {
    (void)state;
    static const uint8_t data[8] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    for (size_t size = 0; size < 8; size++) {
        nb_cursor c = nb_cursor_over(data, size);
        assert_true(nb_take_u64(&c) == 0);
        assert_true(c.bad);
        assert_int_equal(c.pos, 0);
        assert_int_equal(nb_take_u8(&c), 0);
        assert_null(nb_take(&c, 0));
        assert_int_equal(c.pos, 0);
        c = nb_cursor_over(data, size);
        assert_int_equal(nb_take_u32(&c), size < 4 ? 0 : 0xFFFFFFFF);
        assert_int_equal(c.bad, size < 4);
        c = nb_cursor_over(data, size);
        assert_int_equal(nb_take_u16(&c), size < 2 ? 0 : 0xFFFF);
        assert_int_equal(c.bad, size < 2);
        c = nb_cursor_over(data, size);
        assert_null(nb_take(&c, SIZE_MAX));
        assert_true(c.bad);
    }
    nb_cursor empty = nb_cursor_over(NULL, 0);
    assert_int_equal(nb_take_u8(&empty), 0);
    assert_true(empty.bad);
}

static void checked_arithmetic(void **state) {
    (void)state;
    size_t s = 0;
    uint64_t u = 0;
    assert_true(nb_add_size(SIZE_MAX - 1, 1, &s) && s == SIZE_MAX);
    assert_false(nb_add_size(SIZE_MAX, 1, &s));
    assert_true(nb_mul_size(SIZE_MAX / 3, 3, &s) && s == SIZE_MAX / 3 * 3);
    assert_false(nb_mul_size(SIZE_MAX / 3 + 1, 3, &s));
    assert_true(nb_mul_size(0, SIZE_MAX, &s) && s == 0);
    assert_true(nb_add_u64(UINT64_MAX, 0, &u) && u == UINT64_MAX);
    assert_false(nb_add_u64(UINT64_MAX, 1, &u));
    assert_true(nb_mul_u64(UINT64_C(1) << 32, UINT32_MAX, &u));
    assert_false(nb_mul_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &u));
    assert_int_equal(nb_round_up(0, 64), 0);
    assert_int_equal(nb_round_up(1, 64), 64);
    assert_int_equal(nb_round_up(64, 64), 64);
    assert_int_equal(nb_round_up(65, 3), 66);
    assert_int_equal(nb_div_up(0, 7), 0);
    assert_int_equal(nb_div_up(7, 7), 1);
    assert_int_equal(nb_div_up(8, 7), 2);
    assert_true(nb_div_up(SIZE_MAX, 2) == SIZE_MAX / 2 + 1);
    assert_int_equal(nb_min_size(3, 4), 3);
    assert_int_equal(nb_max_size(3, 4), 4);
}

static void ranges(void **state) {
    (void)state;
    static const struct {
        uint64_t offset, length, size;
        bool inside;
    } cases[] = {
        {0, 0, 0, true},           {0, 10, 10, true},           {10, 0, 10, true},
        {3, 7, 10, true},          {11, 0, 10, false},          {3, 8, 10, false},
        {1, UINT64_MAX, 10, false}, {UINT64_MAX, 1, 10, false}, {UINT64_MAX, UINT64_MAX, UINT64_MAX, false},
        {0, UINT64_MAX, UINT64_MAX, true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(nb_range_ok(cases[i].offset, cases[i].length, cases[i].size), cases[i].inside);
}

static bool count_steps(void *user, const char *what, const char *unit, uint64_t done, uint64_t total) {
    assert_string_equal(what, "work");
    assert_true(!unit || !strcmp(unit, "tokens"));
    ++*(int *)user;
    return done < total;
}

static void progress_may_be_ignored_or_cancel(void **state) {
    (void)state;
    int steps = 0;
    const nb_progress deaf = {0}, listener = {.step = count_steps, .user = &steps};
    assert_true(nb_progress_step(NULL, "work", NULL, 1, 2));
    assert_true(nb_progress_step(&deaf, "work", NULL, 1, 2));
    assert_true(nb_progress_step(&listener, "work", NULL, 1, 2));
    assert_false(nb_progress_step(&listener, "work", "tokens", 2, 2));
    assert_int_equal(steps, 2);
}

static void buffer_grows_and_stays_terminated(void **state) {
    (void)state;
    nb_buf b = {0};
    assert_string_equal(nb_buf_str(&b), "");
    nb_buf_append(&b, NULL, 0);
    nb_buf_text(&b, "x=");
    nb_buf_printf(&b, "%d,%s", 42, "y");
    nb_buf_byte(&b, '!');
    assert_string_equal(nb_buf_str(&b), "x=42,y!");
    assert_int_equal(b.size, 7);
    nb_buf_clear(&b);
    assert_string_equal(nb_buf_str(&b), "");
    nb_buf_u32(&b, 0xB4A39281);
    nb_buf_u64(&b, UINT64_C(0x0807060504030201));
    static const uint8_t expected[] = {0x81, 0x92, 0xA3, 0xB4, 1, 2, 3, 4, 5, 6, 7, 8};
    assert_int_equal(b.size, sizeof expected);
    assert_memory_equal(b.data, expected, sizeof expected);
    for (int i = 0; i < 10000; i++) {
        nb_buf_byte(&b, (uint8_t)i);
        assert_int_equal(b.data[b.size], 0);
        assert_true(b.size < b.capacity);
    }
    for (size_t i = 0; i < 10000; i++) assert_int_equal(b.data[sizeof expected + i], (uint8_t)i);
    assert_false(b.failed);
    uint8_t *p = nb_buf_extend(&b, 100000);
    assert_non_null(p);
    memset(p, 7, 100000);
    assert_int_equal((uintptr_t)b.data % NB_ALIGN, 0);
    nb_buf_free(&b);
    nb_buf_free(&b);
    nb_buf_free(NULL);
}

static void buffer_printf_of_any_length(void **state) {
    (void)state;
    nb_buf b = {0};
    char text[600];
    for (size_t n = 0; n < sizeof text - 1; n++) {
        memset(text, 'a', n);
        text[n] = '\0';
        nb_buf_clear(&b);
        nb_buf_printf(&b, "%s", text);
        assert_string_equal(nb_buf_str(&b), text);
        nb_buf_free(&b);
    }
}

static void buffer_failure_is_sticky(void **state) {
    (void)state;
    nb_buf b = {0};
    nb_buf_text(&b, "kept");
    nb_mem_fail_at(0);
    assert_null(nb_buf_extend(&b, 1000));
    nb_mem_fail_at(-1);
    assert_true(b.failed);
    nb_buf_text(&b, "lost");
    nb_buf_printf(&b, "%d", 1);
    nb_buf_u32(&b, 1);
    nb_buf_u64(&b, 1);
    assert_string_equal(nb_buf_str(&b), "kept");
    nb_buf_clear(&b);
    assert_false(b.failed);
    nb_buf_text(&b, "again");
    assert_string_equal(nb_buf_str(&b), "again");
    assert_null(nb_buf_extend(&b, SIZE_MAX));
    assert_null(nb_buf_extend(&b, SIZE_MAX - b.size));
    assert_true(b.failed);
    nb_buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(little_endian_fields),
        cmocka_unit_test(cursor_reads_to_the_end),
        cmocka_unit_test(cursor_error_is_sticky),
        cmocka_unit_test(checked_arithmetic),
        cmocka_unit_test(ranges),
        cmocka_unit_test(progress_may_be_ignored_or_cancel),
        cmocka_unit_test(buffer_grows_and_stays_terminated),
        cmocka_unit_test(buffer_printf_of_any_length),
        cmocka_unit_test(buffer_failure_is_sticky),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
