#include "tests/support/demo_model.h"

#include "base/mem.h"
#include "convert/convert.h"
#include "tests/support/unit.h"

enum { SETTINGS = 8 };

/* "key=value key=value ..." in `text`, which is cut up. */
static size_t split_settings(char *text, nb_setting pairs[SETTINGS]) {
    size_t n = 0;
    for (char *pair, *rest = text; n < SETTINGS && (pair = strtok_r(rest, " ", &rest)); n++) {
        char *equals = strchr(pair, '=');
        *equals = 0;
        pairs[n] = (nb_setting){pair, equals + 1};
    }
    return n;
}

void engine_open(engine *e, const char *source, const char *setting, nb_type type, const char *scratch) {
    engine_open_lora(e, source, setting, NULL, 0, type, scratch);
}

void engine_open_lora(engine *e, const char *source, const char *setting, const nb_lora *loras, size_t n, nb_type type,
                      const char *scratch) {
    nb_error err = {0};
    nb_convert_report report;
    nb_setting pairs[SETTINGS];
    char path[UNIT_PATH], copy[200] = "";
    nb_status st = nb_team_create(&e->team, 2, &err);
    if (setting) snprintf(copy, sizeof copy, "%s", setting);
    nb_convert_options o = {.type = type, .overwrite = true, .team = e->team, .settings = pairs, .n_settings = split_settings(copy, pairs),
                            .loras = loras, .n_loras = n};
    unit_path(path, scratch, "golden.nbl");
    if (!st) st = nb_convert(source, path, &o, &report, &err);
    if (!st) st = nb_model_open(&e->model, path, &(nb_model_options){.team = e->team}, &err);
    if (!st) st = nb_session_create(&e->session, e->model, &(nb_session_options){.team = e->team}, &err);
    if (st) fail_msg("%s: %s", source, err.text);
    e->vocab = nb_model_hparams(e->model)->vocab_size;
}

void engine_close(engine *e) {
    nb_session_free(e->session);
    nb_model_free(e->model);
    nb_team_free(e->team);
    *e = (engine){0};
}

const demo_model demo_models[DEMO_MODELS] = {{"nanochat", NULL}, {"minigpt", "n_head=8"}, {"nanogpt", NULL}};

const char *demo_dir(const demo_model *m, char path[DEMO_PATH]) {
    snprintf(path, DEMO_PATH, "%s/models/%s", NIBBLE_TEST_DATA, m->name);
    return path;
}

json_t *read_json(const char *dir, const char *name) {
    char path[DEMO_PATH + 64];
    json_error_t err;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &err);
    if (!root) fail_msg("%s, line %d: %s", path, err.line, err.text);
    return root;
}

int32_t *ids_of(const json_t *array, size_t *n) {
    *n = json_array_size(array);
    int32_t *ids = nb_calloc(*n, sizeof *ids);
    for (size_t i = 0; i < *n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return ids;
}
