/* Families of models: how a checkpoint's tensors and configuration become ours.
 *
 * A family is data: rows that map names of tensors, and facts that give the hyperparameters. One arch_*.c per family
 * holds its tables; a function is written only for what no table can say. */
#ifndef NB_CONVERT_ARCH_H
#define NB_CONVERT_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/status.h"
#include "convert/convert.h"
#include "convert/source.h"
#include "convert/value.h"
#include "core/hparams.h"
#include "core/tensors.h"

/* What is done with a tensor. */
typedef enum nb_map_how {
    NB_MAP_SAME,      /* it has our shape (or that of its parts) */
    NB_MAP_TRANSPOSE, /* it is stored [columns][rows] */
    NB_MAP_PAIRS, /* each head's rows are pairs of neighbours that are rotated together; ours are row i and i + D/2 */
    NB_MAP_CROP,  /* rows beyond ours are padding */
    NB_MAP_TIED,  /* NB_MAP_CROP; not used when the head is the embedding */
    NB_MAP_IGNORE /* saved but not needed: masks, tables that are computed */
} nb_map_how;

/* Parts of a joined tensor, in the order of its rows; a row of the map may cover neighbours. */
enum { NB_PART_WHOLE = 0, NB_PART_Q = 1, NB_PART_K = 2, NB_PART_V = 4, NB_PART_GATE = 1, NB_PART_UP = 2 };

/* Patterns of tensors' names: "%u" stands for the layer's number (once), "{a|b|}" for one of the texts. */
typedef struct nb_map_row {
    const char *pattern; /* of a tensor's name */
    int spec;            /* NB_SPEC_<field> of tensors.def */
    int part;            /* NB_PART_* */
    nb_map_how how;
} nb_map_row;

/* Where a hyperparameter comes from. The first row that knows its value decides; --set comes before all. */
typedef enum nb_fact_how {
    NB_FACT_IS,     /* `value` */
    NB_FACT_KEY,    /* number under the key `text` of the configuration; keys of keys are separated by '/' */
    NB_FACT_NULL,   /* `value` when there is that key without a value */
    NB_FACT_NAME,   /* `value` when the text under the key `text` is `other` */
    NB_FACT_ROWS,   /* rows of tensor `text` (a pattern; of the first layer that has it) */
    NB_FACT_COLS,   /* its columns */
    NB_FACT_LAYERS, /* largest layer number in the names that match pattern `text`, plus 1 */
    NB_FACT_HAS,    /* 1 when it exists, else 0 */
    NB_FACT_SAME    /* where tensors `text` and `other` exist: 1 when they have the same bits, else 0 */
} nb_fact_how;

typedef struct nb_fact {
    const char *hparam;
    nb_fact_how how;
    const char *text, *other;
    double value;
} nb_fact;

enum { NB_BLOCKS_MAX = 1024 }; /* of a model, as hparams.def has it */

/* Which blocks attend over windows, and how far they look. */
typedef enum nb_windows_how {
    NB_WINDOWS_NONE,
    NB_WINDOWS_SLIDING, /* Hugging Face: `sliding_window` in all blocks, or in those that `layer_types` names */
    NB_WINDOWS_NAMED,   /* the same, and `layer_types` must be there */
    NB_WINDOWS_ASKED,   /* as SLIDING where use_sliding_window is true, from block max_window_layers on */
    NB_WINDOWS_ASKED_NAMED, /* as NAMED where use_sliding_window is true */
    NB_WINDOWS_FOURTHS, /* llama.cpp's OLMo 3: where there is a window, all but every fourth block have it */
    NB_WINDOWS_PATTERN  /* nanochat: `window_pattern` of S and L, and what the era says of S */
} nb_windows_how;

/* Which kinds of blocks are rotated by frequencies of their own. */
typedef enum nb_rope_how {
    NB_ROPE_ALIKE, /* none: there is one table for all */
    NB_ROPE_TYPED, /* those without a window and those with one; scalings that name no kind are of the former */
    NB_ROPE_SOME   /* some are not rotated: `no_rope_layers` */
} nb_rope_how;

/* A generation of a family whose constants are not in the checkpoint: the first that fits counts, and its facts come
 * before those of the family. */
typedef struct nb_era {
    const char *when;
    const char *tensor; /* pattern of one that it has; NULL: fits always */
    uint32_t cols;      /* of that tensor; 0: any */
    const nb_fact *facts;
    size_t n_facts;
    /* A short window looks back context / short_share positions, rounded up to whole short_unit (0: rounded down). A
     * share of 0: there are no windows. */
    uint32_t short_share, short_unit;
} nb_era;

/* What the configuration must not contradict: under `key` there is one of `values` (texts, separated by '|'), null or
 * nothing. Numbers and booleans are compared as JSON writes them. */
typedef struct nb_demand {
    const char *key, *values;
} nb_demand;

typedef struct nb_arch_input {
    nb_source *source;
    const nb_value *config; /* the training script's; may be NULL */
    const nb_setting *settings;
    size_t n_settings;
} nb_arch_input;

/* The members of an nb_arch that are a file's arrays `its_map` and `its_facts`. */
#define NB_ARCH_TABLES(its_map, its_facts)                                                     \
    .map = its_map, .n_map = sizeof(its_map) / sizeof *(its_map), .facts = its_facts,          \
    .n_facts = sizeof(its_facts) / sizeof *(its_facts)

typedef struct nb_arch {
    const char *name;         /* --arch */
    const char *architecture; /* in the file; NULL: the name */
    const char *chat_style;
    const char *tokenizer_files[2]; /* names beside the checkpoint; unused ones NULL */
    const nb_map_row *map;
    size_t n_map;
    const nb_fact *facts;
    size_t n_facts;
    const nb_demand *demands;
    size_t n_demands;
    const nb_era *eras;
    size_t n_eras;
    nb_windows_how windows;
    nb_rope_how rope;
    float rope_sign;   /* -1: its rotation runs backwards */
    float norm_offset; /* added to the weights of its norms, which are stored without it */
    /* Its embeddings are scaled by sqrt(n_embd): the embedding is stored scaled, and what the head, if it is the
     * embedding, makes too large is taken out of the final norm. */
    bool embed_gain;
    const char *hint; /* what helps to answer when a hyperparameter is asked for; may be NULL */
} nb_arch;

/* All families; NULL at the end. */
extern const nb_arch *const nb_archs[];
extern const nb_arch nb_arch_nanochat, nb_arch_nanogpt, nb_arch_minigpt, nb_arch_mingpt, nb_arch_gpt2, nb_arch_llama,
    nb_arch_mistral, nb_arch_qwen2, nb_arch_qwen3, nb_arch_phi3, nb_arch_gemma, nb_arch_olmo, nb_arch_olmo2,
    nb_arch_olmo3, nb_arch_smollm3, nb_arch_nanochat_hf, nb_arch_meta, nb_arch_block, nb_arch_tutorial,
    nb_arch_gguf_llama, nb_arch_gguf_qwen2, nb_arch_gguf_qwen3, nb_arch_gguf_phi3, nb_arch_gguf_gemma,
    nb_arch_gguf_olmo, nb_arch_gguf_olmo2, nb_arch_gguf_smollm3, nb_arch_gguf_gpt2;
/* "nanochat, nanogpt, ..." appended to `names`. */
void nb_arch_names(nb_buf *names);

/* Whether `name` matches `pattern`; then *layer is its number (0 for a pattern without one). When it does not, *layer
 * is anything. */
bool nb_arch_match(const char *pattern, const char *name, uint32_t *layer);
/* The name that `pattern` gives for a layer, with the first of alternatives, into buf[n]. */
void nb_arch_source_name(const char *pattern, uint32_t layer, char *buf, size_t n);

/* The era of a checkpoint; NULL for a family without any. */
const nb_era *nb_arch_era(const nb_arch *arch, const nb_source *s);

/* NB_UNSUPPORTED where `config` contradicts one of demands[n]; `what` is what they are for, "llama models are
 * computed". */
nb_status nb_demands_check(const nb_demand *demands, size_t n, const nb_value *config, const char *what, nb_error *err);

/* The hyperparameters of a checkpoint: settings, facts, what follows from them; checked. */
nb_status nb_arch_hparams(const nb_arch *arch, const nb_arch_input *in, nb_hparams *h, nb_error *err);

#endif
