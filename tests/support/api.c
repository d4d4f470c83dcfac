#include "tests/support/api.h"

#include <string.h>
#include "tests/support/demo_model.h"

struct api api;

void api_ok(nibble_status st) {
    if (st) fail_msg("status %d: %s", st, nibble_error_text(api.error));
}

void api_refused(nibble_status st, nibble_status expected, const char *words) {
    assert_int_equal(st, expected);
    assert_int_equal(nibble_error_status(api.error), expected);
    if (!strstr(nibble_error_text(api.error), words))
        fail_msg("'%s' does not say '%s'", nibble_error_text(api.error), words);
}

int api_set_up(void **state) {
    int failed = unit_scratch_setup(state);
    char dir[DEMO_PATH];
    engine e = {0};
    if (failed) return failed;
    engine_open(&e, demo_dir(&demo_models[0], dir), demo_models[0].setting, NB_TYPE_Q4, *state);
    engine_close(&e);
    unit_path(api.path, *state, "golden.nbl");
    api.error = nibble_error_create();
    nibble_model_options options = NIBBLE_MODEL_OPTIONS_INIT;
    options.threads = 2;
    api_ok(nibble_model_open(&api.model, api.path, &options, api.error));
    return 0;
}

int api_tear_down(void **state) {
    nibble_model_close(api.model);
    nibble_error_free(api.error);
    return unit_scratch_teardown(state);
}

size_t api_ids(const char *text, unsigned flags, int32_t *ids, size_t capacity) {
    size_t n = 0;
    api_ok(nibble_tokenize(api.model, text, strlen(text), flags, ids, capacity, &n, api.error));
    return n;
}

size_t api_conversation(int32_t ids[100], const char *question) {
    const nibble_message messages[] = {{NIBBLE_USER, question}};
    size_t n = 0;
    api_ok(nibble_chat_render(api.model, NULL, messages, 1, ids, 100, &n, api.error));
    return n;
}
