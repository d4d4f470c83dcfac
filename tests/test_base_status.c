#include "tests/support/unit.h"

#include <errno.h>
#include "base/status.h"

static void stores_status_and_sentence(void **state) {
    (void)state;
    nb_error err;
    assert_int_equal(nb_fail(&err, NB_TRUNCATED, "tensor '%s': %d bytes missing", "wte", 7), NB_TRUNCATED);
    assert_int_equal(err.status, NB_TRUNCATED);
    assert_string_equal(err.text, "tensor 'wte': 7 bytes missing");
}

static void nobody_has_to_listen(void **state) {
    (void)state;
    assert_int_equal(nb_fail(NULL, NB_LIMIT, "%s", "unread"), NB_LIMIT);
    assert_int_equal(nb_fail_errno(NULL, ENOENT, "%s", "unread"), NB_IO);
    assert_int_equal(nb_context(NULL, NB_FORMAT, "%s", "unread"), NB_FORMAT);
}

static void appends_the_system_reason(void **state) {
    (void)state;
    static const struct {
        int errnum;
        nb_status status;
    } cases[] = {{ENOENT, NB_IO}, {EACCES, NB_IO}, {ENOMEM, NB_MEMORY}, {987654, NB_IO}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        nb_error err;
        assert_int_equal(nb_fail_errno(&err, cases[i].errnum, "cannot open '%s'", "x"), cases[i].status);
        assert_int_equal(err.status, cases[i].status);
        assert_memory_equal(err.text, "cannot open 'x': ", 17);
        assert_true(strlen(err.text) > 17);
    }
}

static void context_goes_in_front(void **state) {
    (void)state;
    nb_error err;
    nb_status status = nb_fail(&err, NB_CHECKSUM, "chunk 3 is damaged");
    assert_int_equal(nb_context(&err, status, "model '%s'", "a.nbl"), NB_CHECKSUM);
    assert_int_equal(err.status, NB_CHECKSUM);
    assert_string_equal(err.text, "model 'a.nbl': chunk 3 is damaged");
}

static void control_characters_are_not_passed_on(void **state) {
    (void)state;
    nb_error err;
    nb_fail(&err, NB_FORMAT, "key '%s'", "a\033[2J\n\x7f\xc2\x9b" "b\xc2\xa0\xc3\xa9");
    assert_string_equal(err.text, "key 'a?[2J????b\xc2\xa0\xc3\xa9'");
    nb_context(&err, NB_FORMAT, "'%s'", "\r");
    assert_memory_equal(err.text, "'?': key ", 9);
}

static void may_quote_its_own_text(void **state) {
    (void)state;
    nb_error err;
    nb_fail(&err, NB_IO, "inner");
    nb_fail(&err, NB_FORMAT, "outer (%s)", err.text);
    assert_string_equal(err.text, "outer (inner)");
}

/* Every alignment of the cut against two-, three- and four-byte characters. */
static void long_sentences_end_in_dots_after_a_whole_character(void **state) {
    (void)state;
    static const char *const characters[] = {"x", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    for (size_t c = 0; c < COUNT_OF(characters); c++)
        for (size_t shift = 0; shift < 4; shift++) {
            char text[3 * NB_ERROR_TEXT] = "abcd";
            size_t n = shift, width = strlen(characters[c]);
            for (; n + width < sizeof text - 1; n += width) memcpy(text + n, characters[c], width);
            text[n] = '\0';
            nb_error err;
            nb_fail(&err, NB_IO, "%s", text);
            size_t length = strlen(err.text);
            assert_in_range(length, NB_ERROR_TEXT - 5, NB_ERROR_TEXT - 1);
            assert_string_equal(err.text + length - 3, "...");
            assert_memory_equal(err.text, text, length - 3);
            assert_int_equal((length - 3 - shift) % width, 0);
        }
}

static void length_limits(void **state) {
    (void)state;
    char text[NB_ERROR_TEXT + 1];
    nb_error err;
    memset(text, 'a', sizeof text);
    text[NB_ERROR_TEXT - 1] = '\0'; /* fits exactly */
    nb_fail(&err, NB_IO, "%s", text);
    assert_string_equal(err.text, text);
    text[NB_ERROR_TEXT - 1] = 'a';
    text[NB_ERROR_TEXT] = '\0'; /* one too many */
    nb_fail(&err, NB_IO, "%s", text);
    assert_int_equal(strlen(err.text), NB_ERROR_TEXT - 1);
    assert_string_equal(err.text + NB_ERROR_TEXT - 4, "...");
    nb_context(&err, NB_IO, "front");
    assert_memory_equal(err.text, "front: aaa", 10);
    assert_string_equal(err.text + strlen(err.text) - 3, "...");
}

static void every_status_has_a_text(void **state) {
    (void)state;
    static const struct {
        nb_status status;
        const char *text;
    } rows[] = {
#define STATUS(name, text) {NB_##name, text},
#include "base/status.def"
#undef STATUS
    };
    assert_int_equal(NB_OK, 0);
    for (size_t i = 0; i < COUNT_OF(rows); i++) assert_string_equal(nb_status_text(rows[i].status), rows[i].text);
    assert_string_equal(nb_status_text((nb_status)COUNT_OF(rows)), "unknown status");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_status_and_sentence),
        cmocka_unit_test(nobody_has_to_listen),
        cmocka_unit_test(appends_the_system_reason),
        cmocka_unit_test(context_goes_in_front),
        cmocka_unit_test(control_characters_are_not_passed_on),
        cmocka_unit_test(may_quote_its_own_text),
        cmocka_unit_test(long_sentences_end_in_dots_after_a_whole_character),
        cmocka_unit_test(length_limits),
        cmocka_unit_test(every_status_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
