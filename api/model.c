#include "api/api.h"
#include "base/mem.h"
#include "format/reader.h"

#define STATUS(name, text) _Static_assert((int)NIBBLE_##name == (int)NB_##name, "statuses have the same numbers");
#include "base/status.def"
#undef STATUS

const char *nibble_version(void) { return NIBBLE_VERSION; }

nibble_error *nibble_error_create(void) { return nb_calloc(1, sizeof(nibble_error)); }
void nibble_error_free(nibble_error *error) { nb_free(error); }
nibble_status nibble_error_status(const nibble_error *error) { return error ? status_of(error->e.status) : NIBBLE_OK; }
const char *nibble_error_text(const nibble_error *error) { return error ? error->e.text : ""; }

/* The sections of the file that programs may want to read themselves. */
static nb_status read_sections(nibble_model *model, const char *path, nb_error *err) {
    nb_reader *r = NULL;
    size_t n, n_provenance;
    nb_status st = nb_reader_open(&r, path, NULL, err);
    if (st) return st;
    const char *json = nb_reader_model_json(r, &n), *provenance = nb_reader_provenance_json(r, &n_provenance);
    model->json = nb_strndup(json, n);
    model->provenance = nb_strndup(provenance, n_provenance);
    if (!model->json || !model->provenance) st = nb_oom(err, "a model's metadata", n + n_provenance);
    nb_reader_close(r);
    return st;
}

nibble_status nibble_model_open(nibble_model **model, const char *path, const nibble_model_options *options,
                                nibble_error *error) {
    nibble_model_options o = NIBBLE_MODEL_OPTIONS_INIT;
    nb_error *err = err_of(error);
    nb_team *team = NULL;
    *model = NULL;
    nibble_model *m = nb_calloc(1, sizeof *m);
    if (!m) return status_of(nb_oom(err, "a model", sizeof *m));
    nb_status st = need(path, 1, "the model's path", err);
    if (!st) st = read_options(&o, sizeof o, options, err);
    m->threads = o.threads;
    if (!st && o.threads > NB_TEAM_MAX)
        st = nb_fail(err, NB_ARGUMENT, "%u threads were asked for; at most %d are possible", o.threads, NB_TEAM_MAX);
    if (!st) st = nb_kernels_choose(&m->k, o.isa, err);
    if (!st) st = nb_team_create(&team, (int)o.threads, err);
    if (!st) st = nb_model_open(&m->m, path, &(nb_model_options){.team = team, .kernels = &m->k}, err);
    if (!st) st = read_sections(m, path, err);
    nb_team_free(team);
    if (st) nibble_model_close(m);
    else *model = m;
    return status_of(st);
}

void nibble_model_close(nibble_model *model) {
    if (!model) return;
    nb_model_free(model->m);
    nb_free(model->json);
    nb_free(model->provenance);
    nb_free(model);
}

uint64_t nibble_model_identity(const nibble_model *model) { return nb_model_identity(model->m); }
const char *nibble_model_architecture(const nibble_model *model) { return nb_model_architecture(model->m); }
const char *nibble_model_chat_style(const nibble_model *model) { return nb_model_chat_style(model->m); }
const char *nibble_model_isa(const nibble_model *model) { return model->k.isa; }
uint32_t nibble_model_vocab_size(const nibble_model *model) { return nb_model_hparams(model->m)->vocab_size; }
uint32_t nibble_model_context(const nibble_model *model) { return nb_model_hparams(model->m)->n_ctx; }
int nibble_model_has_tokenizer(const nibble_model *model) { return nb_model_tokenizer(model->m) != NULL; }
const char *nibble_model_json(const nibble_model *model) { return model->json; }
const char *nibble_model_provenance(const nibble_model *model) { return model->provenance; }

const char *nibble_hparam_name(size_t i) { return i < nb_hparam_count ? nb_hparam_list[i].name : NULL; }

nibble_status nibble_model_hparam(const nibble_model *model, const char *name, double *value, nibble_error *error) {
    nb_status st = need(name, 1, "a hyperparameter's name", err_of(error));
    if (st) return status_of(st);
    for (size_t i = 0; i < nb_hparam_count; i++) {
        const nb_hparam_info *p = &nb_hparam_list[i];
        const char *field = (const char *)nb_model_hparams(model->m) + p->offset;
        float f;
        uint32_t u;
        if (strcmp(p->name, name) != 0) continue;
        memcpy(&f, field, sizeof f);
        memcpy(&u, field, sizeof u);
        *value = p->kind == NB_HPARAM_F32 ? (double)f : (double)u;
        return NIBBLE_OK;
    }
    return status_of(nb_fail(err_of(error), NB_ARGUMENT, "unknown hyperparameter '%s'", name));
}
