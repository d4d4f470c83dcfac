/* Rules that a vocabulary carries: how text is changed before it becomes tokens, and how it is cut into pieces.
 *
 * They say in data what tokenizers of several libraries do in code; the file holds them as JSON (format/FORMAT.md,
 * section 11). Rules own their texts. */
#ifndef NB_CORE_VOCAB_RULES_H
#define NB_CORE_VOCAB_RULES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

/* What a text rule does; core/text_rules.def names and describes each. */
typedef enum nb_text_how {
#define TEXT_RULE(name, NAME, find, text, flags) NB_TEXT_##NAME,
#include "core/text_rules.def"
#undef TEXT_RULE
    NB_TEXT_COUNT
} nb_text_how;

enum {
    NB_TEXT_IF_FIRST = 1,  /* "first": only where the whole text begins */
    NB_TEXT_UNLESS = 2,    /* "unless": not where the text begins (or ends) with it already */
    NB_TEXT_LEFT = 4,      /* "left", "right": at which end */
    NB_TEXT_RIGHT = 8,
    NB_TEXT_REGEX = 16,    /* "regex": `find` is a regular expression */
    NB_TEXT_GRAPHEMES = 32, /* "graphemes": as Hugging Face's Precompiled reads a charsmap */
    NB_TEXT_USER = 64,     /* "user": tokens that somebody defined stay as they stand */
    NB_TEXT_ANY = 128      /* "any": also where other rules have left nothing of the text */
};

typedef struct nb_text_rule {
    nb_text_how how;
    uint32_t flags; /* NB_TEXT_... */
    char *find;     /* NULL where the rule has none */
    char *text;
} nb_text_rule;

/* What becomes of the matches of a pattern. */
typedef enum nb_split_keep {
    NB_SPLIT_ISOLATED,   /* every match is a piece, and so is what lies between two */
    NB_SPLIT_REMOVED,    /* matches disappear */
    NB_SPLIT_PREVIOUS,   /* a match belongs to what stands before it */
    NB_SPLIT_NEXT,       /* a match belongs to what stands behind it */
    NB_SPLIT_CONTIGUOUS, /* matches that touch are one piece */
    NB_SPLIT_KEEP_COUNT
} nb_split_keep;

typedef struct nb_split_rule {
    char *pattern;
    nb_split_keep keep;
    bool invert; /* what does not match counts as matches, and the reverse */
    bool bytes;  /* it meets text in the alphabet of bytes (core/byte_alphabet.h), as do all rules behind it */
} nb_split_rule;

enum { NB_MAX_RULES = 64 }; /* of a kind */

typedef struct nb_text_rules {
    nb_text_rule *v;
    size_t n;
} nb_text_rules;
typedef struct nb_split_rules {
    nb_split_rule *v;
    size_t n;
} nb_split_rules;

/* Append a rule; `find` and `text` are copied and may be NULL. NB_LIMIT past NB_MAX_RULES. */
nb_status nb_text_rules_add(nb_text_rules *r, nb_text_how how, uint32_t flags, const char *find, const char *text,
                            nb_error *err);
nb_status nb_split_rules_add(nb_split_rules *r, const char *pattern, size_t n, nb_split_keep keep, bool invert,
                             nb_error *err);
void nb_text_rules_free(nb_text_rules *r); /* both accept zeroed ones */
void nb_split_rules_free(nb_split_rules *r);

/* As arrays of the "tokenizer" object (new reference; NULL: out of memory), and back. `key` names the array. */
json_t *nb_text_rules_to_json(const nb_text_rules *r);
json_t *nb_split_rules_to_json(const nb_split_rules *r);
nb_status nb_text_rules_from_json(nb_text_rules *r, const char *key, const json_t *value, nb_error *err);
nb_status nb_split_rules_from_json(nb_split_rules *r, const char *key, const json_t *value, nb_error *err);

/* The name of a way to keep matches in the file; NULL past the last. */
const char *nb_split_keep_name(size_t i);

#endif
