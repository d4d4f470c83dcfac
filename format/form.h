/* The order of a chunk's bytes in the file: bytes (or bits) that are alike are gathered into parts, since an entropy
 * coder gains where few values are frequent, and gains less when unlike parts must share one table.
 *
 * A form is a bijection on the chunk's bytes that depends on the tensor's geometry alone. FORMAT.md says each in words
 * and what each gains; forms.def lists them. */
#ifndef NB_FORMAT_FORM_H
#define NB_FORMAT_FORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "format/tensor.h"

typedef enum nb_chunk_form {
#define FORM(NAME, name, fits, gather, scatter, parts) NB_FORM_##NAME,
#include "format/forms.def"
#undef FORM
    NB_FORM_COUNT
} nb_chunk_form;

enum { NB_MAX_PARTS = 4 };

/* Of a chunk of `n` raw bytes: whole panels, or in the plain layout whole elements. */
typedef struct nb_form_info {
    const char *name;
    bool (*fits)(const nb_geometry *g); /* g NULL: bytes of no tensor, which fit the form memory alone */
    void (*gather)(const nb_geometry *g, const uint8_t *raw, size_t n, uint8_t *formed);
    void (*scatter)(const nb_geometry *g, const uint8_t *formed, size_t n, uint8_t *raw);
    void (*parts)(const nb_geometry *g, size_t n, size_t bytes[NB_MAX_PARTS]); /* they add up to n; the rest are 0 */
} nb_form_info;
extern const nb_form_info nb_form_infos[NB_FORM_COUNT];

/* The form in which a tensor compresses best. */
nb_chunk_form nb_form_of(const nb_geometry *g);

#endif
