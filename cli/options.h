/* The command line as data: commands, options and their parsed values, all made from options.def. */
#ifndef NB_CLI_OPTIONS_H
#define NB_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "base/team.h"

enum {
#define COMMAND(NAME, name, arguments, min, max, summary, notes) CMD_##NAME,
#include "cli/options.def"
    CMD_COUNT
};
enum {
#define COMMAND(NAME, name, arguments, min, max, summary, notes) IN_##NAME = 1 << CMD_##NAME,
#include "cli/options.def"
    IN_NONE = 0
};

typedef struct texts { /* of an option that may be repeated, in the order given */
    const char **v;    /* owned; the texts are argv's */
    size_t n;
} texts;

typedef struct options {
    const char *const *args; /* what is not an option [n_args]; args[n_args] is NULL */
    size_t n_args;
#define FLAG bool
#define INT(lo, hi) uint64_t
#define FLOAT(lo, hi) double
#define TEXT const char *
#define TEXTS texts
#define CHOICE(names) const char *
#define OPTION(commands, field, name, letter, argument, KIND, def, help) KIND field;
#include "cli/options.def"
#undef FLAG
#undef INT
#undef FLOAT
#undef TEXT
#undef TEXTS
#undef CHOICE
} options;

typedef enum option_kind { KIND_FLAG, KIND_INT, KIND_FLOAT, KIND_TEXT, KIND_TEXTS, KIND_CHOICE } option_kind;

typedef struct option_info {
    unsigned commands;
    const char *name;
    char letter;
    const char *argument; /* NULL for flags */
    option_kind kind;
    double min, max;                 /* numbers */
    const char *(*choice)(size_t i); /* KIND_CHOICE: the valid values, NULL past the end */
    const char *def, *help;
    size_t offset; /* in struct options */
} option_info;
extern const option_info option_list[];
extern const size_t option_count;

typedef struct command_info {
    const char *name, *arguments;
    size_t min_args, max_args;
    const char *summary, *notes;
    int (*run)(const options *o); /* the exit code */
} command_info;
extern const command_info commands[CMD_COUNT];

#define COMMAND(NAME, name, arguments, min, max, summary, notes) int cmd_##name(const options *o);
#include "cli/options.def"

/* The command of this name, or CMD_COUNT after a sentence on stderr, which names the one that may be meant. */
int command_find(const char *name);

/* Parse what follows the command's name. False after a sentence on stderr. options_free accepts a zeroed object. */
bool options_parse(options *o, int command, int argc, char **argv);
void options_free(options *o, int command);

/* Whole numbers and finite decimal numbers, without blanks, signs (whole numbers) or anything behind. */
bool parse_u64(const char *text, uint64_t *value);
bool parse_double(const char *text, double *value);

/* The part of `nibble help` that is about one command, and the overview. */
void help_command(FILE *to, int command);
void help_overview(FILE *to);

#endif
