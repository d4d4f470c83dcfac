#include "cli/common.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/file.h"
#include "format/writer.h"

/* ---- how a command ends */

int usage_error(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fputs("nibble: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    return EXIT_USAGE;
}

void warn(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fputs("nibble: warning: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
}

int fail(const nb_error *err) {
    if (err->status == NB_CANCELLED) {
        fputs("nibble: interrupted\n", stderr);
        return EXIT_INTERRUPTED;
    }
    fprintf(stderr, "nibble: %s\n", *err->text ? err->text : nb_status_text(err->status));
    return EXIT_FAILURE;
}

/* ---- signals: the handlers' only way to tell is a global */

static volatile sig_atomic_t signal_count, pipe_closed;

static void on_signal(int number) {
    if (!signal_count) {
        signal_count = 1;
        return;
    }
    nb_replace_abandon_all();
    signal(number, SIG_DFL);
    raise(number);
}

static void on_closed_pipe(int number) {
    (void)number;
    pipe_closed = 1;
}

void signals_install(void) {
    /* No SA_RESTART: a read from the terminal must return when Ctrl-C is pressed. */
    struct sigaction act = {.sa_handler = on_signal};
    sigemptyset(&act.sa_mask);
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction old;
        /* What nohup or a shell's background job made the process ignore stays ignored. */
        if (sigaction(numbers[i], NULL, &old) || old.sa_handler != SIG_IGN) sigaction(numbers[i], &act, NULL);
    }
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = on_closed_pipe}, NULL);
}

bool interrupted(void) {
    return signal_count != 0;
}
void interrupted_clear(void) {
    signal_count = 0;
}

/* ---- results */

static int output_errno; /* of the first write to stdout that failed: the reason is gone when the command ends */

bool put_text(const char *text, size_t n) {
    if (fwrite(text, 1, n, stdout) == n && !fflush(stdout) && !ferror(stdout)) return true;
    if (!output_errno) output_errno = errno;
    return false;
}

int finish_output(int code) {
    bool lost = ferror(stdout);
    if (lost && !output_errno) output_errno = EIO;
    if (fflush(stdout) || fclose(stdout)) {
        lost = true;
        if (!output_errno) output_errno = errno;
    }
    if (!lost) return code;
    if (pipe_closed) return code ? code : EXIT_PIPE;
    fprintf(stderr, "nibble: cannot write the results to standard output: %s\n", strerror(output_errno));
    return code ? code : EXIT_FAILURE;
}

int print_json(json_t *object) {
    char *text = object ? json_dumps(object, 0) : NULL;
    json_decref(object);
    if (!text) {
        nb_error err;
        nb_fail(&err, NB_MEMORY, "out of memory: the JSON text of the results");
        return fail(&err);
    }
    fputs(text, stdout);
    fputc('\n', stdout);
    free(text);
    return EXIT_SUCCESS;
}

json_t *json_number(double value) {
    json_t *number = json_real(value); /* NULL for infinities and NaN */
    return number ? number : json_null();
}

json_t *json_ids(const int32_t *ids, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_integer(ids[i]));
    return list;
}

bool read_line(nb_buf *line) {
    nb_buf_clear(line);
    int c = EOF;
    while (!interrupted() && (c = getchar()) != EOF && c != '\n') nb_buf_byte(line, (uint8_t)c);
    return !interrupted() && !line->failed && (c != EOF || line->size);
}

double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *size_text(uint64_t bytes, char buf[SIZE_TEXT]) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    if (bytes < 1024) {
        snprintf(buf, SIZE_TEXT, "%" PRIu64 " bytes", bytes);
        return buf;
    }
    double v = (double)bytes / 1024;
    size_t unit = 0;
    for (; v >= 1024 && unit + 1 < sizeof units / sizeof *units; unit++) v /= 1024;
    snprintf(buf, SIZE_TEXT, "%.2f %s", v, units[unit]);
    return buf;
}

/* ---- progress */

static const char *amount_text(uint64_t n, const char *unit, char buf[SIZE_TEXT]) {
    if (!unit) return size_text(n, buf);
    snprintf(buf, SIZE_TEXT, "%" PRIu64 " %s", n, unit);
    return buf;
}

/* A rate is of one part of the work: the time that another took would falsify it. */
static void follow_part(progress_bar *bar, const char *what, uint64_t done, double now) {
    if (bar->what && (strcmp(bar->what, what) != 0 || done < bar->done)) bar->begin = now;
    bar->what = what;
    bar->done = done;
}

static bool draw_progress(void *user, const char *what, const char *unit, uint64_t done, uint64_t total) {
    enum { WIDTH = 30 };
    progress_bar *bar = user;
    double now = seconds_now();
    follow_part(bar, what, done, now);
    if (now - bar->begin > 0.3 && now - bar->shown > 0.1) {
        char at[SIZE_TEXT], of[SIZE_TEXT], rate[SIZE_TEXT], left[SIZE_TEXT] = "";
        double share = total ? (double)done / (double)total : 0;
        double seconds = share > 0 ? (now - bar->begin) * (1 / share - 1) : 0;
        if (share > 0 && seconds < 1e6)
            snprintf(left, sizeof left, ", %.0f:%02d left", floor(seconds / 60), (int)seconds % 60);
        int filled = (int)(share * WIDTH);
        if (filled > WIDTH) filled = WIDTH;
        fprintf(stderr, "\r\033[K%s [%.*s%*s] %s of %s, %s/s%s", what, filled, "##############################",
                WIDTH - filled, "", amount_text(done, unit, at), amount_text(total, unit, of),
                amount_text((uint64_t)((double)done / (now - bar->begin)), unit, rate), left);
        fflush(stderr);
        bar->shown = now;
    }
    return !interrupted();
}

static bool only_cancel(void *user, const char *what, const char *unit, uint64_t done, uint64_t total) {
    (void)user, (void)what, (void)unit, (void)done, (void)total;
    return !interrupted();
}

const nb_progress *progress_begin(progress_bar *bar) {
    *bar = (progress_bar){.begin = seconds_now()};
    bar->listener = (nb_progress){.step = isatty(STDERR_FILENO) ? draw_progress : only_cancel, .user = bar};
    return &bar->listener;
}

void progress_end(progress_bar *bar) {
    if (bar->shown > 0) fputs("\r\033[K", stderr);
    bar->shown = 0;
}

/* ---- token ids */

nb_status parse_ids(const char *text, size_t n, const char *origin, nb_ids *out, nb_error *err) {
    static const char blanks[] = ", \t\r\n";
    const char *p = text, *end = text + n;
    while (p < end) {
        if (memchr(blanks, *p, sizeof blanks - 1)) {
            p++;
            continue;
        }
        char number[24];
        size_t length = 0;
        while (p + length < end && length < sizeof number - 1 && !memchr(blanks, p[length], sizeof blanks - 1))
            length++;
        memcpy(number, p, length);
        number[length] = '\0';
        uint64_t id;
        if (!parse_u64(number, &id) || id > INT32_MAX) {
            return nb_fail(err, NB_ARGUMENT, "%s: '%s' is not a token id (whole numbers separated by blanks or commas)",
                           origin, number);
        }
        nb_status st = nb_ids_push(out, (int32_t)id, err);
        if (st) return st;
        p += length;
    }
    return NB_OK;
}

nb_status ids_from_options(const char *tokens, const char *tokens_file, nb_ids *out, nb_error *err) {
    nb_status st;
    nb_buf text = {0};
    if (tokens) {
        st = parse_ids(tokens, strlen(tokens), "--tokens", out, err);
    } else {
        st = nb_read_file(tokens_file, INPUT_LIMIT, &text, err);
        if (!st) st = parse_ids(nb_buf_str(&text), text.size, tokens_file, out, err);
    }
    if (!st && !out->size) st = nb_fail(err, NB_ARGUMENT, "%s holds no token ids", tokens ? "--tokens" : tokens_file);
    nb_buf_free(&text);
    return st;
}

/* ---- models */

nb_status model_section(const nb_reader *r, json_t **model, nb_error *err) {
    size_t size;
    const char *text = nb_reader_model_json(r, &size);
    json_error_t where;
    *model = json_loadb(text, size, 0, &where);
    if (*model) return NB_OK;
    return nb_fail(err, NB_FORMAT, "'%s': model section, line %d: %s", nb_reader_path(r), where.line, where.text);
}

nb_status team_open(nb_team **team, const options *o, nb_error *err) {
    return nb_team_create(team, (int)o->threads, err);
}

/* Whether what --save names can be written, asked before the work that would be lost with it. */
static nb_status can_save(const char *path, nb_error *err) {
    nb_replace file;
    nb_status st = nb_replace_begin(&file, path, true, err);
    if (!st) nb_replace_abandon(&file);
    return st;
}

nb_status engine_open(engine *e, const options *o, const char *path, nb_error *err) {
    nb_status st = o->save ? can_save(o->save, err) : NB_OK;
    if (!st && !e->team) st = team_open(&e->team, o, err);
    if (st) return st;
    progress_bar bar;
    nb_model_options how = {.team = e->team, .progress = progress_begin(&bar)};
    st = nb_model_open(&e->model, path, &how, err);
    progress_end(&bar);
    return st;
}

void engine_close(engine *e) {
    nb_model_free(e->model);
    nb_team_free(e->team);
    *e = (engine){0};
}

const nb_tokenizer *need_tokenizer(const nb_model *model, const char *path, nb_error *err) {
    const nb_tokenizer *t = nb_model_tokenizer(model);
    if (!t)
        nb_fail(err, NB_MISSING,
                "'%s' has no tokenizer: convert it again with --tokenizer PATH, or give ids with --tokens", path);
    return t;
}

void warn_beyond_training(const nb_model *model, uint64_t n_ctx) {
    const nb_hparams *h = nb_model_hparams(model);
    if (n_ctx <= h->n_ctx || h->pos == NB_POS_LEARNED) return; /* which end there: opening a session fails */
    warn("the model was trained for %" PRIu32 " tokens; a context of %" PRIu64 " is beyond what it has learned",
         h->n_ctx, n_ctx);
}

nb_session_options session_options(const engine *e, const options *o, uint64_t n_ctx) {
    nb_session_options how = {.n_ctx = (uint32_t)n_ctx, .n_chunk = (uint32_t)o->chunk, .team = e->team};
    if (o->overflow && strcmp(o->overflow, overflow_choice(NB_OVERFLOW_SLIDE)) == 0) how.overflow = NB_OVERFLOW_SLIDE;
    (void)nb_kv_type_by_name(o->kv_k ? o->kv_k : o->kv, &how.kv.keys); /* the option's list has checked them */
    (void)nb_kv_type_by_name(o->kv_v ? o->kv_v : o->kv, &how.kv.values);
    warn_beyond_training(e->model, n_ctx);
    return how;
}

nb_status session_open(nb_session **session, const engine *e, const options *o, uint64_t n_ctx, nb_error *err) {
    nb_session_options how = session_options(e, o, n_ctx);
    return nb_session_create(session, e->model, &how, err);
}

nb_status check_room(size_t n, size_t held, size_t room, nb_error *err) {
    if (n <= room - held) return NB_OK;
    return nb_fail(err, NB_LIMIT,
                   "the text has %zu tokens, but the context has room for %zu%s: shorten it or give a larger --ctx", n,
                   room - held, held ? " more" : "");
}

nb_status feed(nb_session *s, const int32_t *ids, size_t n, size_t chunk, nb_error *err) {
    nb_status full = check_room(n, nb_session_length(s), nb_session_room(s), err);
    if (full) return full;
    for (size_t at = 0; at < n; at += chunk) {
        if (interrupted()) return nb_fail(err, NB_CANCELLED, "interrupted");
        nb_status st = nb_session_append(s, ids + at, n - at < chunk ? n - at : chunk, NULL, NULL, err);
        if (st) return st;
    }
    return NB_OK;
}

static double per_second(size_t n, double seconds) {
    return seconds > 0 ? (double)n / seconds : 0;
}

void print_speed(const speed *s) {
    fprintf(stderr, "prefill %zu tokens in %.3f s (%.1f per second), decode %zu tokens in %.3f s (%.1f per second)\n",
            s->prefill_tokens, s->prefill_seconds, per_second(s->prefill_tokens, s->prefill_seconds), s->decode_tokens,
            s->decode_seconds, per_second(s->decode_tokens, s->decode_seconds));
    if (s->drafted) fprintf(stderr, "lookup: %zu tokens drafted, %zu accepted\n", s->drafted, s->accepted);
}

/* ---- values of options */

/* Types that matrices can have: those with a panel layout. */
const char *type_choice(size_t i) {
    for (size_t t = 0; t < NB_TYPE_COUNT; t++) {
        if (nb_types[t].block_bytes && !i--) return nb_types[t].name;
    }
    return NULL;
}

const char *convert_type_choice(size_t i) {
    if (type_choice(i)) return type_choice(i);
    return i == 0 || type_choice(i - 1) ? TYPE_AUTO : NULL; /* behind the last */
}

const char *overflow_choice(size_t i) {
    static const char *const names[] = {[NB_OVERFLOW_STOP] = "stop", [NB_OVERFLOW_SLIDE] = "slide"};
    return i < sizeof names / sizeof *names ? names[i] : NULL;
}

const char *store_choice(size_t i) {
    static const char *const names[] = {[NB_STORE_ZSTD] = "zstd", [NB_STORE_RAW] = "raw"};
    return i < sizeof names / sizeof *names ? names[i] : NULL;
}
