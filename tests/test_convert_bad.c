/* The kept bad checkpoints: every file of tests/bad/torch must be refused with the sentence that expected.txt gives it,
 * and leave nothing behind. */
#include "tests/support/unit.h"

#include "base/buf.h"
#include "base/file.h"
#include "convert/convert.h"

static char folder[] = NIBBLE_TEST_DATA "/bad/torch";

static nb_status convert(const char *name, const char *target, nb_error *err) {
    char source[UNIT_PATH];
    const nb_convert_options options = {.type = NB_TYPE_Q4, .overwrite = true};
    return nb_convert(unit_path(source, folder, name), target, &options, NULL, err);
}

static void every_file_is_refused_with_its_sentence(void **state) {
    (void)state;
    char path[UNIT_PATH], target[UNIT_PATH], *scratch = unit_scratch_new(), *rest = NULL;
    nb_buf list = {0};
    nb_error err = {0};
    int rows = 0;
    unit_path(target, scratch, "out.nbl");
    assert_int_equal(nb_read_file(unit_path(path, folder, "expected.txt"), 1 << 20, &list, &err), NB_OK);
    for (char *line = strtok_r((char *)list.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), rows++) {
        char *sentence = strchr(line, '\t');
        assert_non_null(sentence);
        *sentence++ = 0;
        memset(&err, 0, sizeof err);
        if (!convert(line, target, &err)) fail_msg("%s was converted", line);
        if (!strstr(err.text, sentence)) fail_msg("%s: \"%s\", expected \"%s\"", line, err.text, sentence);
        if (!strstr(err.text, line)) fail_msg("%s: \"%s\" does not name the file", line, err.text);
        assert_int_equal(unit_count_entries(scratch), 0);
    }
    /* make.py, expected.txt and good/ are no bad files; every other one has its row */
    assert_int_equal(unit_count_entries(folder), rows + 3);
    nb_buf_free(&list);
    unit_scratch_free(scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_file_is_refused_with_its_sentence)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
