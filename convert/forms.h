/* From a path to an opened checkpoint of a known form: which file of a folder, which container, which family, which
 * configuration. */
#ifndef NB_CONVERT_FORMS_H
#define NB_CONVERT_FORMS_H

#include "base/status.h"
#include "convert/arch.h"
#include "convert/source.h"
#include "convert/value.h"

typedef struct nb_form {
    const char *title; /* "nanochat checkpoint" */
    const nb_arch *arch;
    const char *file;        /* its name in a folder; '*' stands for a number, of which the largest is taken */
    const char *tensor;      /* pattern of a tensor that every such checkpoint has */
    const char *config_path; /* of the configuration in the checkpoint's metadata, which must be there; or NULL */
    const char *config_file; /* of a JSON file beside it; '*' stands for the same number; or NULL */
    const char *config_key;  /* of the configuration in that file; "" for all of it */
} nb_form;
extern const nb_form nb_forms[];
extern const size_t nb_form_count;

typedef struct nb_input { /* nb_input_close, also after a failure */
    char *path; /* of the checkpoint's file */
    nb_source *source;
    const nb_form *form;
    const nb_value *config; /* NULL: none */
    nb_arena arena;
} nb_input;

/* `arch` NULL: recognised; else the name of a family. */
nb_status nb_input_open(nb_input *in, const char *path, const char *arch, void (*say)(void *user, const char *sentence),
                        void *user, nb_error *err);
void nb_input_close(nb_input *in); /* accepts a zeroed one */

#endif
