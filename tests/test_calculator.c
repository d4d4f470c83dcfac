#include "tests/support/unit.h"

#include "base/mem.h"
#include "core/pyfloat.h"
#include "core/tools.h"

static void assert_result(const char *expression, const char *expected) {
    nb_buf out = {0};
    bool ok = nb_calculate(expression, strlen(expression), &out);
    assert_false(out.failed);
    if (ok != (expected[0] != 0) || strcmp(nb_buf_str(&out), expected) != 0)
        fail_msg("'%s' gives '%s', expected '%s'", expression, nb_buf_str(&out), expected);
    nb_buf_free(&out);
}

static void as_python(void **state) {
    (void)state;
    FILE *f = fopen(NIBBLE_TEST_DATA "/data/calculator_tests.txt", "r");
    assert_non_null(f);
    char line[4096];
    int n = 0;
    for (; fgets(line, sizeof line, f); n++) {
        char *result = strchr(line, '\t');
        assert_non_null(result);
        *result++ = 0;
        result[strcspn(result, "\n")] = 0;
        assert_result(line, result);
    }
    fclose(f);
    assert_true(n >= 5000);
}

static void limits(void **state) {
    (void)state;
    char text[700];
    memset(text, '1', sizeof text);
    text[512] = 0;
    assert_result(text, text);
    text[512] = '1';
    text[513] = 0;
    assert_result(text, ""); /* Python has a result here */
    for (int depth = 64; depth <= 65; depth++) {
        memset(text, '(', (size_t)depth);
        text[depth] = '1';
        memset(text + depth + 1, ')', (size_t)depth);
        text[2 * depth + 1] = 0;
        assert_result(text, depth == 64 ? "1" : "");
    }
    /* The longest ints are products of two factors that fill the text: 509 digits. One digit more is a byte too
     * many. */
    for (size_t digits = 255; digits <= 257; digits++) {
        memset(text, '9', sizeof text);
        text[255] = '*';
        text[256 + digits] = 0;
        nb_buf out = {0};
        assert_int_equal(nb_calculate(text, strlen(text), &out), digits <= 256);
        if (digits <= 256) assert_int_equal(out.size, 255 + digits);
        nb_buf_free(&out);
    }
    /* Parentheses around strings, and a call, are a level each. */
    for (int depth = 64; depth <= 65; depth++) {
        nb_buf calls = {0};
        for (int i = 0; i < depth - 1; i++) nb_buf_byte(&calls, '(');
        nb_buf_text(&calls, "'a'");
        for (int i = 0; i < depth - 1; i++) nb_buf_byte(&calls, ')');
        nb_buf_text(&calls, ".count(");
        for (int i = 0; i < depth - 1; i++) nb_buf_byte(&calls, '(');
        nb_buf_text(&calls, "'a'");
        for (int i = 0; i < depth; i++) nb_buf_byte(&calls, ')');
        assert_result(nb_buf_str(&calls), depth == 64 ? "1" : "");
        nb_buf_free(&calls);
    }
    memset(text, '(', 512);
    text[512] = 0;
    assert_result(text, "");
    for (size_t i = 0; i + 12 < 512; i += 12) memcpy(text + i, "'a'.count('a", 12);
    assert_result(text, "");
    nb_buf out = {0};
    assert_false(nb_calculate("1\0+1", 4, &out));
    assert_false(nb_calculate("", 0, &out));
    nb_buf_free(&out);
}

static void floats_read_back(void **state) {
    (void)state;
    uint64_t seed = 3;
    for (int i = 0; i < 50000; i++) {
        uint64_t bits = i < 2046 ? (uint64_t)i << 52 : i < 4000 ? (uint64_t)i : unit_random(&seed);
        double v, back;
        memcpy(&v, &bits, sizeof v);
        nb_buf out = {0};
        nb_float_repr(v, &out);
        back = strtod(nb_buf_str(&out), NULL);
        if (v == v) assert_memory_equal(&back, &v, sizeof v);
        else assert_string_equal(nb_buf_str(&out), "nan");
        size_t digits = 0;
        for (const char *p = nb_buf_str(&out); *p && *p != 'e'; p++) digits += *p >= '0' && *p <= '9';
        assert_true(digits <= 21); /* 17, or 0.000 and 17 */
        nb_buf_free(&out);
    }
}

static void any_bytes(void **state) {
    (void)state;
    static const char alphabet[] = "0123456789*+-/.() '\"count..(a)";
    uint64_t seed = 9;
    for (int i = 0; i < 20000; i++) {
        char text[64];
        size_t n = (size_t)(unit_random(&seed) % sizeof text);
        for (size_t j = 0; j < n; j++)
            text[j] = i % 8 ? alphabet[unit_random(&seed) % (sizeof alphabet - 1)] : (char)unit_random(&seed);
        nb_buf out = {0};
        bool ok = nb_calculate(text, n, &out);
        assert_int_equal(ok, out.size > 0);
        nb_buf_free(&out);
    }
}

static void the_registry(void **state) {
    (void)state;
    assert_int_equal(nb_tool_count, 1);
    assert_string_equal(nb_tools[0].name, "calculator");
    nb_buf out = {0};
    assert_true(nb_tools[0].call(NULL, "12*7", 4, &out));
    assert_string_equal(nb_buf_str(&out), "84");
    nb_buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_python), cmocka_unit_test(limits),       cmocka_unit_test(floats_read_back),
        cmocka_unit_test(any_bytes), cmocka_unit_test(the_registry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
