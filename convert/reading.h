/* What a model reads while it is measured: windows of a text's tokens, or of its own samples. */
#ifndef NB_CONVERT_READING_H
#define NB_CONVERT_READING_H

#include "base/progress.h"
#include "base/status.h"
#include "base/team.h"
#include "core/model.h"

#define NB_CALIBRATE_SELF "self"
enum { NB_CALIBRATE_TOKENS = 32768 }; /* that a calibration reads at most */

typedef struct nb_reading {
    nb_ids ids;    /* windows of `window` tokens, one after the other; the last may be shorter */
    size_t window; /* at most the model's context, 2048, and a sixteenth of what is read */
} nb_reading;

/* About `most` tokens of `text`, a file's name, or NB_CALIBRATE_SELF for samples of the model itself (16 at a time, so
 * whole sixteens of windows). The same for every team. NB_MISSING for a text and a model without a tokenizer,
 * NB_ARGUMENT for a text with too few tokens. */
nb_status nb_reading_make(nb_reading *r, const nb_model *model, const char *text, size_t most, nb_team *team,
                          const nb_progress *progress, nb_error *err);
void nb_reading_free(nb_reading *r); /* accepts a zeroed one */

#endif
