#include "cli/options.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "cli/common.h"
#include "convert/convert.h"
#include "core/chat.h"
#include "core/lookup.h"

#define FLAG          .kind = KIND_FLAG
#define INT(lo, hi)   .kind = KIND_INT, .min = (lo), .max = (hi)
#define FLOAT(lo, hi) .kind = KIND_FLOAT, .min = (lo), .max = (hi)
#define TEXT          .kind = KIND_TEXT
#define TEXTS         .kind = KIND_TEXTS
#define CHOICE(names) .kind = KIND_CHOICE, .choice = names
#define OPTION(in, field, long_name, short_name, placeholder, KIND, value, text) \
    {.commands = (unsigned)(in),                                                 \
     .name = long_name,                                                          \
     .letter = short_name,                                                       \
     .argument = placeholder,                                                    \
     KIND,                                                                       \
     .def = value,                                                               \
     .help = text,                                                               \
     .offset = offsetof(options, field)},
#define VARIANT OPTION
const option_info option_list[] = {
#include "cli/options.def"
};
const size_t option_count = sizeof option_list / sizeof *option_list;

const command_info commands[CMD_COUNT] = {
#define COMMAND(NAME, name, arguments, min, max, summary, notes) \
    [CMD_##NAME] = {#name, arguments, min, max, summary, notes, cmd_##name},
#include "cli/options.def"
};

bool parse_u64(const char *text, uint64_t *value) {
    uint64_t v = 0;
    if (!*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        if (!nb_mul_u64(v, 10, &v) || !nb_add_u64(v, (uint64_t)(*text - '0'), &v)) return false;
    }
    *value = v;
    return true;
}

bool parse_double(const char *text, double *value) {
    /* strtod would also take blanks, hexadecimal, infinities and NaN. */
    if (!*text || text[strspn(text, "0123456789.eE+-")]) return false;
    char *end;
    double v = strtod(text, &end);
    if (*end || !isfinite(v)) return false;
    *value = v;
    return true;
}

/* Edits (insert, delete, replace, swap two neighbours) from one name to the other: how far a mistyped name is. */
static unsigned edit_distance(const char *a, const char *b) {
    enum { MAX = 32 };
    unsigned d[MAX + 1][MAX + 1];
    size_t n = strnlen(a, MAX), m = strnlen(b, MAX);
    for (size_t i = 0; i <= n; i++) {
        for (size_t j = 0; j <= m; j++) {
            if (!i || !j) {
                d[i][j] = (unsigned)(i + j);
                continue;
            }
            unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[n][m];
}

/* How far `given` is from a valid name. Where one begins with the other it is one step: abbreviations and longer forms
 * (temperature) are meant that way. */
static unsigned name_distance(const char *given, const char *name) {
    unsigned d = edit_distance(given, name);
    return d > 1 && *given && !strncmp(given, name, nb_min_size(strlen(given), strlen(name))) ? 1 : d;
}

/* The closest name that was offered. An edit in three letters is a mistyped name, more are another word, and a single
 * letter may be anything. */
typedef struct guess {
    const char *given, *name; /* NULL: none is close enough */
    unsigned distance;
} guess;

static void offer(guess *g, const char *name) {
    unsigned d = name_distance(g->given, name);
    if (d > (strlen(g->given) + 1) / 3 || (g->name && d >= g->distance)) return;
    g->name = name;
    g->distance = d;
}

/* "; the closest is 'run'", with what goes before the name; or nothing */
enum { HINT = 64 };
static const char *hint(const guess *g, const char *dashes, char buf[HINT]) {
    if (!g->name) return "";
    snprintf(buf, HINT, "; the closest is '%s%s'", dashes, g->name);
    return buf;
}

int command_find(const char *name) {
    guess g = {.given = name};
    char buf[HINT];
    for (int i = 0; i < CMD_COUNT; i++) {
        if (!strcmp(name, commands[i].name)) return i;
        offer(&g, commands[i].name);
    }
    usage_error("unknown command '%s'%s ('nibble help' lists all)", name, hint(&g, "", buf));
    return CMD_COUNT;
}

static const option_info *find_long(int command, const char *name, size_t n) {
    for (size_t i = 0; i < option_count; i++) {
        const option_info *p = &option_list[i];
        if ((p->commands >> command & 1) && strlen(p->name) == n && !memcmp(p->name, name, n)) return p;
    }
    return NULL;
}

static const option_info *find_letter(int command, char letter) {
    for (size_t i = 0; i < option_count; i++) {
        if ((option_list[i].commands >> command & 1) && letter && option_list[i].letter == letter)
            return &option_list[i];
    }
    return NULL;
}

static bool unknown_option(int command, const char *given) {
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)nb_min_size(strcspn(given, "="), sizeof name - 1), given);
    guess g = {.given = name + strspn(name, "-")};
    char buf[HINT];
    for (size_t i = 0; i < option_count; i++)
        if (option_list[i].commands >> command & 1) offer(&g, option_list[i].name);
    usage_error("%s: unknown option '%s'%s ('nibble %s --help' lists all)", commands[command].name, name,
                hint(&g, "--", buf), commands[command].name);
    return false;
}

/* "f32, f16, bf16" */
static void list_choices(const option_info *p, char *buf, size_t size) {
    size_t at = 0;
    *buf = '\0';
    for (size_t i = 0; p->choice(i) && at < size; i++) {
        int n = snprintf(buf + at, size - at, "%s%s", i ? ", " : "", p->choice(i));
        at += n > 0 ? (size_t)n : 0;
    }
}

static bool set_number(const option_info *p, const char *command, const char *value, void *field) {
    uint64_t whole = 0;
    double number = 0;
    bool is_whole = p->kind == KIND_INT;
    bool good = is_whole ? parse_u64(value, &whole) : parse_double(value, &number);
    if (is_whole) number = (double)whole;
    if (!good || number < p->min || number > p->max) {
        char range[64];
        uint64_t last = p->max < 0x1p64 ? (uint64_t)p->max : UINT64_MAX;
        if (is_whole)
            snprintf(range, sizeof range, "a whole number from %" PRIu64 " to %" PRIu64, (uint64_t)p->min, last);
        else
            snprintf(range, sizeof range, "a number from %g to %g", p->min, p->max);
        usage_error("%s: --%s takes %s, not '%s'", command, p->name, range, value);
        return false;
    }
    if (is_whole)
        memcpy(field, &whole, sizeof whole);
    else
        memcpy(field, &number, sizeof number);
    return true;
}

static bool set_choice(const option_info *p, const char *command, const char *value, const char **field) {
    for (size_t i = 0; p->choice(i); i++) {
        if (!strcmp(value, p->choice(i))) {
            *field = p->choice(i);
            return true;
        }
    }
    char valid[512];
    list_choices(p, valid, sizeof valid);
    usage_error("%s: --%s takes %s%s, not '%s'", command, p->name, p->choice(0) && p->choice(1) ? "one of " : "only ",
                valid, value);
    return false;
}

static bool set_value(options *o, const option_info *p, int command, const char *value) {
    void *field = (char *)o + p->offset;
    switch (p->kind) {
    case KIND_FLAG:
        *(bool *)field = true;
        return true;
    case KIND_INT:
    case KIND_FLOAT:
        return set_number(p, commands[command].name, value, field);
    case KIND_CHOICE:
        return set_choice(p, commands[command].name, value, (const char **)field);
    case KIND_TEXT:
        *(const char **)field = value;
        return true;
    case KIND_TEXTS:
        break;
    }
    texts *list = field;
    list->v[list->n++] = value; /* room for every argument: options_parse */
    return true;
}

/* One argument that begins with '-': the long or short option it is. Takes its value from behind it, or the next one.
 */
static bool parse_option(options *o, int command, int argc, char **argv, int *at) {
    const char *arg = argv[*at], *value = NULL;
    const option_info *p;
    if (arg[1] == '-') {
        size_t n = strcspn(arg + 2, "=");
        p = find_long(command, arg + 2, n);
        if (p && arg[2 + n]) value = arg + 3 + n;
    } else {
        p = find_letter(command, arg[1]);
        if (p && arg[2]) value = arg + 2;
    }
    if (!p) return unknown_option(command, arg);
    if (p->kind == KIND_FLAG && value) {
        usage_error("%s: --%s takes no value, but '%s' gives one", commands[command].name, p->name, arg);
        return false;
    }
    if (p->kind != KIND_FLAG && !value) {
        if (*at + 1 == argc) {
            usage_error("%s: --%s needs a value: %s", commands[command].name, p->name, p->argument);
            return false;
        }
        value = argv[++*at];
    }
    return set_value(o, p, command, value);
}

/* Take room for arguments and repeated options, and set the defaults. */
static bool options_begin(options *o, int command, int argc) {
    bool good = (o->args = calloc((size_t)argc + 1, sizeof *o->args)) != NULL;
    for (size_t i = 0; good && i < option_count; i++) {
        const option_info *p = &option_list[i];
        if (!(p->commands >> command & 1)) continue;
        if (p->kind == KIND_TEXTS) {
            texts *list = (void *)((char *)o + p->offset);
            good = (list->v = calloc((size_t)argc + 1, sizeof *list->v)) != NULL;
        } else if (p->def) {
            good = set_value(o, p, command, p->def);
        }
    }
    if (!good) fprintf(stderr, "nibble: out of memory for %d arguments\n", argc);
    return good;
}

/* The environment's default for --threads. */
static bool threads_from_environment(options *o, int command) {
    const char *env = getenv("NIBBLE_THREADS");
    if (o->threads || !find_long(command, "threads", strlen("threads")) || !env || !*env) return true;
    if (parse_u64(env, &o->threads) && o->threads >= 1 && o->threads <= NB_TEAM_MAX) return true;
    usage_error("NIBBLE_THREADS is '%s', not a whole number from 1 to %d", env, NB_TEAM_MAX);
    return false;
}

bool options_parse(options *o, int command, int argc, char **argv) {
    *o = (options){0};
    if (!options_begin(o, command, argc)) return false;
    const char **args = (const char **)(uintptr_t)o->args; /* still ours to fill */
    bool only_arguments = false;
    for (int i = 0; i < argc; i++) {
        if (!only_arguments && !strcmp(argv[i], "--")) {
            only_arguments = true;
        } else if (!only_arguments && argv[i][0] == '-' && argv[i][1]) {
            if (!parse_option(o, command, argc, argv, &i)) return false;
            if (o->help) return true; /* whoever asks for help may have the rest wrong */
        } else {
            args[o->n_args++] = argv[i];
        }
    }
    const command_info *c = &commands[command];
    if (o->n_args >= c->min_args && o->n_args <= c->max_args) return threads_from_environment(o, command);
    if (o->n_args < c->min_args)
        usage_error("%s: %.*s is missing (usage: nibble %s %s [options])", c->name, (int)strcspn(c->arguments, " "),
                    c->arguments, c->name, c->arguments);
    else
        usage_error("%s: '%s' is one argument too many (usage: nibble %s %s [options])", c->name, o->args[c->max_args],
                    c->name, c->arguments);
    return false;
}

void options_free(options *o, int command) {
    for (size_t i = 0; i < option_count; i++) {
        const option_info *p = &option_list[i];
        if (p->kind != KIND_TEXTS || !(p->commands >> command & 1)) continue;
        texts *list = (void *)((char *)o + p->offset);
        free(list->v);
    }
    free((void *)(uintptr_t)o->args);
    *o = (options){0};
}
