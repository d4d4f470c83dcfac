/* The demo models of tests/models, converted and opened for a test, and the JSON that says what to expect of them. */
#ifndef NB_TESTS_SUPPORT_DEMO_MODEL_H
#define NB_TESTS_SUPPORT_DEMO_MODEL_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "convert/convert.h"
#include "core/session.h"
#include "quant/types.h"

enum { DEMO_PATH = 1024 };

/* A converted checkpoint with an empty session and a team of two threads. */
typedef struct engine {
    nb_team *team;
    nb_model *model;
    nb_session *session;
    uint32_t vocab;
} engine;

/* Convert `source` into `scratch` and open the result; `setting` is "key=value key=value ..." for what the checkpoint
 * does not store, or NULL. Failures fail the test. */
void engine_open(engine *e, const char *source, const char *setting, nb_type type, const char *scratch);
/* The same with LoRA adapters merged, `loras` [n]. */
void engine_open_lora(engine *e, const char *source, const char *setting, const nb_lora *loras, size_t n, nb_type type,
                      const char *scratch);
void engine_close(engine *e);

/* The demo models: `setting` as above. */
typedef struct demo_model {
    const char *name, *setting;
} demo_model;
enum { DEMO_MODELS = 3 };
extern const demo_model demo_models[DEMO_MODELS];
const char *demo_dir(const demo_model *m, char path[DEMO_PATH]);

/* "dir/name" parsed; the caller releases it. */
json_t *read_json(const char *dir, const char *name);
/* An array of ids; the caller frees it with nb_free. */
int32_t *ids_of(const json_t *array, size_t *n);

#endif
