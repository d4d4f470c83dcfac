#include "tests/support/unit.h"

#include "core/tokenizer.h"
#include "core/utf8.h"

#define FFFD "\xef\xbf\xbd"

/* Input and what it becomes. The last rows are the examples of section 3.9 of the Unicode Standard (tables 3-8 to
 * 3-11). */
static const struct {
    const char *in, *out;
} cases[] = {
    {"", ""},
    {"plain", "plain"},
    {"\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x8c\x8d", "\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x8c\x8d"},
    {"\x80", FFFD},
    {"\xc3", FFFD},
    {"a\xe4\xbd", "a" FFFD},
    {"\xe4\xbd\x61", FFFD "a"},
    {"\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD},
    {"\xf0\x9f\xc3\xa9", FFFD "\xc3\xa9"},
    {"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "A"},
    {"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "A"},
    {"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", FFFD FFFD FFFD FFFD FFFD "A" FFFD FFFD "B"},
    {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", FFFD FFFD FFFD FFFD "A"},
};

/* Feed `in` in steps of at most `step` bytes. */
static void feed_all(const char *in, size_t step, nb_buf *out) {
    nb_utf8 u = {0};
    size_t n = strlen(in);
    for (size_t i = 0; i < n; i += step) nb_utf8_feed(&u, (const uint8_t *)in + i, n - i < step ? n - i : step, out);
    nb_utf8_finish(&u, out);
    assert_false(out->failed);
}

static void replaces_maximal_subparts(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t step = 1; step <= 10; step++) {
            nb_buf out = {0};
            feed_all(cases[i].in, step, &out);
            assert_string_equal(nb_buf_str(&out), cases[i].out);
            nb_buf_free(&out);
        }
}

static void holds_back_the_beginning_of_a_character(void **state) {
    (void)state;
    nb_utf8 u = {0};
    nb_buf out = {0};
    nb_utf8_feed(&u, (const uint8_t *)"x\xf0\x9f", 3, &out);
    assert_string_equal(nb_buf_str(&out), "x");
    nb_utf8_feed(&u, (const uint8_t *)"\x8c", 1, &out);
    assert_string_equal(nb_buf_str(&out), "x");
    nb_utf8_feed(&u, (const uint8_t *)"\x8d", 1, &out);
    assert_string_equal(nb_buf_str(&out), "x\xf0\x9f\x8c\x8d");
    nb_utf8_finish(&u, &out);
    assert_int_equal(out.size, 5);
    nb_buf_free(&out);
}

static size_t encode(uint32_t c, uint8_t *p) {
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    if (c < 0x80) return p[0] = (uint8_t)c, 1;
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6) p[i] = (uint8_t)(0x80 | (c & 0x3f));
    p[0] = (uint8_t)(lead[n] | c);
    return n;
}

static void every_code_point(void **state) {
    (void)state;
    for (uint32_t c = 0; c < 0x110400; c++) {
        uint8_t p[4];
        size_t n = encode(c, p), length;
        bool scalar = c < 0xd800 || (c >= 0xe000 && c < 0x110000);
        nb_utf8_state found = nb_utf8_next(p, n, &length);
        assert_int_equal(found == NB_UTF8_VALID, scalar);
        assert_int_equal(nb_utf8_valid_prefix(p, n), scalar ? n : 0);
        if (!scalar) continue;
        assert_int_equal(length, n);
        assert_int_equal(nb_utf8_decode(p, n), c);
        for (size_t cut = 1; cut < n; cut++) {
            assert_int_equal(nb_utf8_next(p, cut, &length), NB_UTF8_CUT);
            assert_int_equal(length, cut);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replaces_maximal_subparts),
        cmocka_unit_test(holds_back_the_beginning_of_a_character),
        cmocka_unit_test(every_code_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
