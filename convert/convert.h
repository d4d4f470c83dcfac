/* From a checkpoint to a .nbl file: source -> map -> rotation -> quantizer -> writer, tensor by tensor.
 *
 * Peak memory is bounded by the largest tensor (as f32) and a few chunks per thread. Nothing in a source is trusted: no
 * code of a pickle is run, sizes are checked before they are used. */
#ifndef NB_CONVERT_CONVERT_H
#define NB_CONVERT_CONVERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/progress.h"
#include "base/status.h"
#include "base/team.h"
#include "convert/reading.h"
#include "convert/report.h"
#include "format/writer.h"
#include "quant/types.h"

typedef struct nb_setting { /* --set KEY=VALUE */
    const char *key, *value;
} nb_setting;

typedef struct nb_lora { /* --lora FOLDER[:SCALE] */
    const char *folder;
    double scale;
} nb_lora;

/* Another type for the matrices whose names fit a pattern (fnmatch(3); which names, convert/choose.h says). */
typedef struct nb_type_rule {
    const char *pattern;
    nb_type type;
} nb_type_rule;

typedef struct nb_convert_options {
    nb_type type;             /* of the matrices; with q4 the embedding and the head become q8 */
    nb_store store;
    int level;                /* zstd; 0: the default */
    const char *tokenizer;    /* NULL: found beside the checkpoint; "none"; else a path */
    const char *chat_style;   /* NULL: by the chat template or the family; else a row of core/chat.def */
    const char *arch;         /* NULL: detected; else the name of an architecture map */
    double bits;              /* per weight on average, at most: types are chosen (convert/budget.h); 0: as given */
    bool automatic;           /* types are chosen by what they cost (convert/budget.h) */
    const char *calibrate;    /* NULL; else a text's file or "self" (convert/calibrate.h) */
    const nb_reading *reading; /* what it is made of, where that is known; else NULL */
    unsigned rotate;          /* of NB_ROTATE_<NAME> (convert/rotate.h), or NB_ROTATE_AUTO (convert/rotate_auto.h) */
    const char *synthetic;    /* NULL; else the name of a shape: random weights stand for `source`, which is not read */
    const nb_setting *settings;
    size_t n_settings;
    const nb_lora *loras; /* [n_loras] adapters to be merged, in this order */
    size_t n_loras;
    const nb_type_rule *rules; /* [n_rules]; of several that fit, the last counts */
    size_t n_rules;
    bool dry_run;             /* plan, say what would be written, and write nothing */
    bool overwrite;
    nb_team *team;            /* may be NULL */
    const nb_progress *progress; /* may be NULL */
    void (*say)(void *user, const char *sentence); /* may be NULL: form found, warnings; no newline */
    void *user;
    nb_convert_list *list; /* may be NULL; a zeroed one, to which every tensor of the model is added that was written */
} nb_convert_options;

typedef struct nb_convert_report {
    uint64_t identity, source_bytes, raw_bytes, file_bytes, parameters;
    uint32_t n_tensors;
    /* Of a dry run: without identity, file_bytes, snr_db and the tokenizer's tensors. */
    double snr_db; /* signal-to-noise ratio over all quantized matrices; infinite when exact */
    char architecture[32], form[64];
    nb_rotation_trials trials; /* with NB_ROTATE_AUTO */
} nb_convert_report;

nb_status nb_convert(const char *source, const char *target, const nb_convert_options *options,
                     nb_convert_report *report, nb_error *err);

/* Names of the architecture maps, in table order; NULL at the end. */
const char *nb_convert_arch_name(size_t i);

/* Names of the synthetic shapes, in table order; NULL past the end. */
const char *nb_synthetic_name(size_t i);

#endif
