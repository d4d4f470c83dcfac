/* What several commands need: how they end, errors, signals, progress, JSON, opening a model and feeding it. */
#ifndef NB_CLI_COMMON_H
#define NB_CLI_COMMON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/progress.h"
#include "base/status.h"
#include "base/team.h"
#include "cli/options.h"
#include "core/model.h"
#include "core/session.h"
#include "core/tokenizer.h"
#include "format/reader.h"

/* Exit codes beside EXIT_SUCCESS and EXIT_FAILURE. 130 and 141 are what shells report for programs that SIGINT and
 * SIGPIPE ended. */
enum { EXIT_USAGE = 2, EXIT_INTERRUPTED = 130, EXIT_PIPE = 141 };

/* Print "nibble: sentence" on stderr and return the exit code that goes with it. */
int usage_error(const char *fmt, ...) NB_PRINTF(1, 2); /* EXIT_USAGE */
int fail(const nb_error *err);                         /* EXIT_FAILURE, or EXIT_INTERRUPTED for NB_CANCELLED */
void warn(const char *fmt, ...) NB_PRINTF(1, 2);

/* SIGINT, SIGTERM and SIGHUP set a flag that long work looks at; a second one ends the process at once, without stray
 * files. SIGPIPE is noted: writing to a pipe that nobody reads any more is an error, and what it interrupts ends in its
 * own way, but finish_output has nothing to say of it. */
void signals_install(void);
bool interrupted(void);
void interrupted_clear(void);

/* Write results to stdout and flush them, so that they stream; false when that failed (now or before). */
bool put_text(const char *text, size_t n);
/* Flush and close stdout. Returns `code`, or EXIT_FAILURE after a sentence when results were lost; in silence EXIT_PIPE
 * when who read them has gone (head). */
int finish_output(int code);

/* Print an object (whose reference it takes) on one line; NULL means that memory ran out. Returns an exit code. */
int print_json(json_t *object);
json_t *json_number(double value); /* null for values that JSON does not have */
json_t *json_ids(const int32_t *ids, size_t n);

/* The next line of stdin without its newline; false at the end or when a signal came. */
bool read_line(nb_buf *line);

double seconds_now(void); /* monotonic */
/* "1.50 GiB" into buf */
enum { SIZE_TEXT = 32 };
const char *size_text(uint64_t bytes, char buf[SIZE_TEXT]);

/* A line of progress on stderr, shown when that is a terminal and the work takes a while. Its listener also cancels the
 * work when a signal came. */
typedef struct progress_bar {
    double begin, shown; /* seconds; begin: of this part of the work; shown: when the line was last drawn, 0: never */
    const char *what;    /* the part, NULL before the first */
    uint64_t done;       /* of it */
    nb_progress listener;
} progress_bar;
const nb_progress *progress_begin(progress_bar *bar);
void progress_end(progress_bar *bar); /* removes the line */

/* Token ids separated by blanks or commas, appended to `out`; `origin` says in errors where they come from. */
nb_status parse_ids(const char *text, size_t n, const char *origin, nb_ids *out, nb_error *err);
/* The same from --tokens or --tokens-file. */
nb_status ids_from_options(const char *tokens, const char *tokens_file, nb_ids *out, nb_error *err);
enum { INPUT_LIMIT = 1 << 30 }; /* bytes of a text or of a list of ids */

/* The model section of a file as JSON (new reference). */
nb_status model_section(const nb_reader *r, json_t **model, nb_error *err);

/* A team of --threads (or what NIBBLE_THREADS made its default), or of one thread per core. */
nb_status team_open(nb_team **team, const options *o, nb_error *err);

/* A team and a model opened with it, once it is known that --save, if given, can be written. engine_close accepts a
 * zeroed object. */
typedef struct engine {
    nb_team *team;
    nb_model *model;
} engine;
nb_status engine_open(engine *e, const options *o, const char *path, nb_error *err);
void engine_close(engine *e);

/* The model's tokenizer, or NULL and NB_MISSING with a sentence on how to get one. */
const nb_tokenizer *need_tokenizer(const nb_model *model, const char *path, nb_error *err);

/* Say so when a context is longer than what a model with rotary positions was trained for: it is computed, but its
 * words get worse. */
void warn_beyond_training(const nb_model *model, uint64_t n_ctx);

/* Room for n_ctx tokens (0: the model's), cache type and chunk as the options say, with that warning; and a session
 * like that. */
nb_session_options session_options(const engine *e, const options *o, uint64_t n_ctx);
nb_status session_open(nb_session **session, const engine *e, const options *o, uint64_t n_ctx, nb_error *err);
/* NB_LIMIT, and what to do, when n tokens more than the `held` ones are more than there is room for. */
nb_status check_room(size_t n, size_t held, size_t room, nb_error *err);
/* Append ids chunk by chunk; NB_CANCELLED when a signal came between two, NB_LIMIT when they do not fit. */
nb_status feed(nb_session *s, const int32_t *ids, size_t n, size_t chunk, nb_error *err);

/* Tokens read and generated, and the time they took. */
typedef struct speed {
    size_t prefill_tokens, decode_tokens, drafted, accepted; /* --lookup: tokens of drafts, and those that were right */
    double prefill_seconds, decode_seconds;
} speed;
void print_speed(const speed *s); /* on stderr */

/* Values of --type and --store for options.def: NULL past the end. */
const char *type_choice(size_t i);
#define TYPE_AUTO "auto"
const char *convert_type_choice(size_t i); /* those and TYPE_AUTO */
const char *store_choice(size_t i);
const char *overflow_choice(size_t i);

#endif
