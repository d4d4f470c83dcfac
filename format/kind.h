/* What a file is by its first bytes: who opens one, and whose error says what was given instead, read the same list. */
#ifndef NB_FORMAT_KIND_H
#define NB_FORMAT_KIND_H

#include <stddef.h>
#include <stdint.h>
#include "format/layout.h"

typedef enum nb_kind {
#define KIND(NAME, magic, what) NB_KIND_##NAME,
#include "format/kinds.def"
#undef KIND
    NB_KIND_UNKNOWN
} nb_kind;

typedef struct nb_kind_info {
    const char *magic; /* [n] */
    size_t n;
    const char *what; /* behind "it is" */
} nb_kind_info;
extern const nb_kind_info nb_kinds[NB_KIND_UNKNOWN];

/* All that is looked at; a shorter file has fewer. */
enum { NB_KIND_HEAD = 32 };

/* The kind of a file of `file_bytes` bytes that begins with head[n]. */
nb_kind nb_kind_of(const void *head, size_t n, uint64_t file_bytes);

#endif
