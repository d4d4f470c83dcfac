/* nibble bench: how fast a model reads and generates, and what share of the machine's limits that is. */
#include "cli/bench.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/mem.h"
#include "cli/common.h"
#include "core/batch.h"
#include "simd/cpu.h"
#include "simd/probe.h"

enum { LIST_MOST = 32, WARM_TOKENS = 8, ATTEMPTS_PER_SAMPLE = 4 };
static const double MACHINE_SECONDS = 0.3, BRACKET_SECONDS = 0.1;

typedef struct bench {
    const options *o;
    nb_team *team; /* of the threads being measured */
    nb_batch *batch; /* of as many rows as the largest test has */
    nb_batch_part *parts;
    nb_prober prober;
    const char *kv_now; /* of the batch, as it is named in the list */
    bench_report report;
    uint64_t threads[LIST_MOST], rows[LIST_MOST];
    nb_kv_types kv[LIST_MOST];
    char kv_names[LIST_MOST][24];
    size_t n_threads, n_rows, n_kv;
    uint32_t most_rows;
    int32_t *ids; /* [depth + the longer test]: any will do */
    progress_bar bar;
    uint64_t done, total; /* samples */
    nb_error *err;
} bench;

/* ---- the tests */

/* ids[n] into one row, in chunks; the logits of the last. */
static nb_status read_into(bench *b, uint32_t row, const int32_t *ids, uint32_t n) {
    uint32_t chunk = nb_batch_chunk(b->batch), take = 0;
    nb_status st = NB_OK;
    for (uint32_t at = 0; !st && at < n; at += take) {
        take = n - at < chunk ? n - at : chunk;
        if (interrupted()) return nb_fail(b->err, NB_CANCELLED, "interrupted");
        st = nb_batch_append(b->batch, &(nb_batch_part){.row = row, .n = take, .ids = ids + at}, 1, b->err);
    }
    if (!st && take) nb_batch_compute(b->batch, take - 1, 1);
    return st;
}

static nb_status read_tokens(bench *b, uint32_t n, uint32_t rows) {
    (void)rows;
    return read_into(b, 0, b->ids + b->o->depth, n);
}

/* n tokens for every row, one per step, each with its logits. */
static nb_status generate_tokens(bench *b, uint32_t n, uint32_t rows) {
    nb_status st = NB_OK;
    for (uint32_t i = 0; !st && i < n; i++) {
        if (interrupted()) return nb_fail(b->err, NB_CANCELLED, "interrupted");
        for (uint32_t row = 0; row < rows; row++)
            b->parts[row] = (nb_batch_part){.row = row, .n = 1, .ids = b->ids + b->o->depth + i};
        st = nb_batch_append(b->batch, b->parts, rows, b->err);
        if (!st) nb_batch_compute(b->batch, 0, rows);
    }
    return st;
}

static const struct test {
    const char *name;
    nb_status (*run)(bench *b, uint32_t n, uint32_t rows);
    bool arithmetic;  /* bounds it; else reading does */
    double tolerance; /* a sample counts when the limit before and after it differ by this share at most */
} tests[] = {
    {"prefill", read_tokens, true, (double)INFINITY},
    /* Machines that are shared change their bandwidth within minutes, and with it the speed of decoding. */
    {"decode", generate_tokens, false, 0.05},
};
enum { PREFILL, DECODE, N_TESTS };

static nb_probe int8_probe(const bench_model *m) { return m->type == NB_TYPE_Q8 ? NB_PROBE_Q8 : NB_PROBE_Q4; }

static nb_status one_sample(bench *b, const struct test *test, uint32_t n, uint32_t rows, double *seconds) {
    uint32_t depth = (uint32_t)b->o->depth;
    nb_status st = NB_OK;
    for (uint32_t row = 0; !st && row < rows; row++) {
        uint32_t left = nb_batch_rewind(b->batch, row, depth); /* windows may have dropped what is seen there */
        if (left < depth) st = read_into(b, row, b->ids + left, depth - left);
    }
    if (st) return st;
    double begin = seconds_now();
    st = test->run(b, n, rows);
    *seconds = seconds_now() - begin;
    return st;
}

static nb_status told(bench *b) {
    if (nb_progress_step(&b->bar.listener, "measuring", "samples", b->done, b->total)) return NB_OK;
    return nb_fail(b->err, NB_CANCELLED, "interrupted");
}

/* Samples until there are enough, or until too many had to be dropped. */
static nb_status take_samples(bench *b, const struct test *test, bench_row *row) {
    uint64_t attempts = b->o->reps * ATTEMPTS_PER_SAMPLE;
    nb_probe limit = test->arithmetic ? int8_probe(&b->report.model) : NB_PROBE_READ;
    double seconds, limits = 0;
    nb_status st = one_sample(b, test, row->tokens < WARM_TOKENS ? row->tokens : WARM_TOKENS, row->rows, &seconds);
    for (; !st && row->n < b->o->reps && attempts > 0; attempts--) {
        double before = nb_probe_rate(&b->prober, limit, b->team, BRACKET_SECONDS);
        st = one_sample(b, test, row->tokens, row->rows, &seconds);
        if (st) break;
        double after = nb_probe_rate(&b->prober, limit, b->team, BRACKET_SECONDS);
        if (fabs(before - after) > test->tolerance * fmax(before, after)) {
            row->dropped++;
        } else {
            row->samples[row->n++] = (double)row->tokens * row->rows / fmax(seconds, 1e-9);
            limits += (before + after) / 2;
            b->done++;
        }
        st = told(b);
    }
    row->limit = limits / (double)row->n; /* NaN without samples */
    if (!st && row->n < b->o->reps)
        warn("%s with --threads %d: %zu of %zu samples were dropped, because the memory's bandwidth changed by more "
             "than 5 %% meanwhile",
             row->test, row->threads, row->dropped, row->dropped + row->n);
    return st;
}

/* ---- what samples say */

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static nb_status summarize(bench_row *r, nb_error *err) {
    r->median = r->mean = r->sd = (double)NAN;
    if (!r->n) return NB_OK;
    double *sorted = nb_alloc(r->n * sizeof *sorted), sum = 0, squares = 0;
    if (!sorted) return nb_oom(err, "samples", r->n * sizeof *sorted);
    memcpy(sorted, r->samples, r->n * sizeof *sorted);
    qsort(sorted, r->n, sizeof *sorted, compare);
    r->median = (sorted[(r->n - 1) / 2] + sorted[r->n / 2]) / 2;
    for (size_t i = 0; i < r->n; i++) sum += sorted[i];
    r->mean = sum / (double)r->n;
    for (size_t i = 0; i < r->n; i++) squares += (sorted[i] - r->mean) * (sorted[i] - r->mean);
    r->sd = r->n > 1 ? sqrt(squares / (double)(r->n - 1)) : 0;
    nb_free(sorted);
    return NB_OK;
}

/* A prefill computes the logits of its last token only; a step reads the weights once for all rows. */
static void compare_with_limits(bench_row *r, const bench_model *m) {
    r->share_of_dram = r->share_of_int8 = (double)NAN;
    if (r->test == tests[DECODE].name) {
        r->share_of_dram = r->median / r->rows * (double)(m->block_bytes + m->head_bytes) / r->limit;
    } else if (m->scaled) {
        double macs = (double)m->block_macs + (double)m->head_macs / r->tokens;
        r->share_of_int8 = r->median * 2 * macs / r->limit;
    }
}

/* ---- the model */

static void add_matrix(const nb_weight *w, uint64_t *bytes, uint64_t *macs) {
    if (!w->panel_bytes) return; /* absent, or no matrix */
    *bytes += nb_div_up((size_t)w->rows, NB_PANEL_ROWS) * w->panel_bytes;
    *macs += w->rows * w->cols;
}

static bench_model model_of(const nb_model *model, const char *path) {
    bench_model m = {.path = path, .model = model, .type = nb_model_layer(model, 0)->qkv_w.type};
    m.scaled = nb_types[m.type].scaled;
    for (uint32_t layer = 0; layer < nb_model_hparams(model)->n_layer; layer++) {
        const nb_layer_weights *w = nb_model_layer(model, layer);
#define FIELD_MODEL(field)
#define FIELD_LAYER(field) add_matrix(&w->field, &m.block_bytes, &m.block_macs);
#define TENSOR(field, SCOPE, name, KIND, rows, cols, present) FIELD_##SCOPE(field)
#include "core/tensors.def"
#undef TENSOR
#undef FIELD_MODEL
#undef FIELD_LAYER
    }
    add_matrix(nb_model_head(model), &m.head_bytes, &m.head_macs);
    return m;
}

/* ---- the machine */

static nb_status measure_machine(bench *b, const nb_kernels *k) {
    bench_machine *m = &b->report.machine;
    uint64_t most = 1;
    for (size_t i = 0; i < b->n_threads; i++) most = b->threads[i] > most ? b->threads[i] : most;
    nb_cpu_name(m->cpu, sizeof m->cpu);
    m->isa = k->isa;
    m->cores = nb_physical_cores();
    m->threads = (int)most;
    nb_status st = nb_team_create(&b->team, (int)most, b->err);
    if (!st) st = nb_prober_open(&b->prober, k, b->team, b->err);
    if (!st) {
        m->dram_one_thread = nb_probe_rate(&b->prober, NB_PROBE_READ, NULL, MACHINE_SECONDS);
        m->dram = nb_probe_rate(&b->prober, NB_PROBE_READ, b->team, MACHINE_SECONDS);
        m->int8 = nb_probe_rate(&b->prober, int8_probe(&b->report.model), b->team, MACHINE_SECONDS);
        m->fma = nb_probe_rate(&b->prober, NB_PROBE_FMA, b->team, MACHINE_SECONDS);
    }
    nb_team_free(b->team);
    b->team = NULL;
    return st;
}

/* ---- lists of options */

/* The i-th item of "1,2,4" into item[n]: false past the end, empty or too long ones give "". */
static bool list_item(const char *list, size_t i, char *item, size_t n) {
    for (; i > 0; i--) {
        list = strchr(list, ',');
        if (!list) return false;
        list++;
    }
    size_t length = strcspn(list, ",");
    snprintf(item, n, "%.*s", length < n ? (int)length : 0, list);
    return true;
}

/* Whole numbers from 1 to `most`, as "1,2,4", into numbers[LIST_MOST]; how many, or 0. */
static size_t parse_numbers(const char *list, uint64_t most, uint64_t *numbers) {
    char item[24];
    size_t n = 0;
    for (; list && list_item(list, n, item, sizeof item); n++)
        if (n == LIST_MOST || !parse_u64(item, &numbers[n]) || !numbers[n] || numbers[n] > most) return 0;
    return n;
}

/* "q8" for keys and values, or "q8/f16" for each. */
static bool parse_kv(const char *item, nb_kv_types *types) {
    char keys[24];
    const char *slash = strchr(item, '/');
    snprintf(keys, sizeof keys, "%.*s", (int)(slash ? (size_t)(slash - item) : strlen(item)), item);
    return nb_kv_type_by_name(keys, &types->keys) && nb_kv_type_by_name(slash ? slash + 1 : item, &types->values);
}

static int parse_lists(bench *b) {
    char item[24];
    b->n_threads = parse_numbers(b->o->thread_list, NB_TEAM_MAX, b->threads);
    if (b->o->thread_list && !b->n_threads)
        return usage_error("bench: --threads takes up to %d whole numbers from 1 to %d, as 1,2,4, not '%s'", LIST_MOST,
                           NB_TEAM_MAX, b->o->thread_list);
    if (!b->n_threads) b->threads[b->n_threads++] = b->o->threads ? b->o->threads : (uint64_t)nb_physical_cores();
    b->n_rows = parse_numbers(b->o->row_list, NB_BATCH_ROWS_MAX, b->rows);
    if (!b->n_rows)
        return usage_error("bench: --rows takes up to %d whole numbers from 1 to %d, as 1,4,8, not '%s'", LIST_MOST,
                           NB_BATCH_ROWS_MAX, b->o->row_list);
    for (size_t i = 0; i < b->n_rows; i++)
        b->most_rows = b->rows[i] > b->most_rows ? (uint32_t)b->rows[i] : b->most_rows;
    for (; list_item(b->o->kv_list, b->n_kv, item, sizeof item); b->n_kv++) {
        if (b->n_kv == LIST_MOST || !parse_kv(item, &b->kv[b->n_kv]))
            return usage_error("bench: --kv takes a list of what --kv of 'run' takes, not '%s'", b->o->kv_list);
        memcpy(b->kv_names[b->n_kv], item, sizeof item);
    }
    if (!b->o->prefill && !b->o->max_tokens) return usage_error("bench: nothing to measure with -p 0 -n 0");
    if (b->o->json + b->o->csv + b->o->md > 1) return usage_error("bench: give one of --json, --csv and --md");
    return 0;
}

/* ---- all of it */

/* One test of the current batch. */
static nb_status measure_test(bench *b, size_t test, uint32_t tokens, uint32_t rows) {
    bench_row *row = &b->report.rows[b->report.n++];
    *row = (bench_row){.test = tests[test].name,
                       .kv = b->kv_now,
                       .tokens = tokens,
                       .rows = rows,
                       .depth = (uint32_t)b->o->depth,
                       .threads = nb_team_size(b->team),
                       .samples = nb_calloc(b->o->reps, sizeof *row->samples)};
    if (!row->samples) return nb_oom(b->err, "samples", b->o->reps * sizeof *row->samples);
    nb_status st = take_samples(b, &tests[test], row);
    if (!st) st = summarize(row, b->err);
    if (!st) compare_with_limits(row, &b->report.model);
    return st;
}

static uint64_t longer_test(const options *o) { return o->prefill > o->max_tokens ? o->prefill : o->max_tokens; }

/* The tests with one number of threads and one type of cache. */
static nb_status measure(bench *b, const nb_model *model, int threads, size_t kv) {
    const options *o = b->o;
    nb_status st = nb_team_create(&b->team, threads, b->err);
    const nb_session_options how = {.n_ctx = (uint32_t)(o->depth + longer_test(o)), .n_chunk = (uint32_t)o->chunk,
                                    .kv = b->kv[kv], .team = b->team};
    b->kv_now = b->kv_names[kv];
    if (!st) st = nb_batch_create(&b->batch, model, b->most_rows, &how, b->err);
    for (uint32_t row = 0; !st && row < b->most_rows; row++) st = read_into(b, row, b->ids, (uint32_t)o->depth);
    if (!st && o->prefill) st = measure_test(b, PREFILL, (uint32_t)o->prefill, 1);
    for (size_t i = 0; !st && o->max_tokens && i < b->n_rows; i++)
        st = measure_test(b, DECODE, (uint32_t)o->max_tokens, (uint32_t)b->rows[i]);
    nb_batch_free(b->batch);
    nb_team_free(b->team);
    b->batch = NULL;
    b->team = NULL;
    return st;
}

static nb_status measure_all(bench *b, const nb_model *model) {
    size_t rows = b->n_threads * b->n_kv * (1 + b->n_rows), n = b->o->depth + longer_test(b->o);
    warn_beyond_training(model, n);
    b->report.model = model_of(model, b->o->args[0]);
    b->report.rows = nb_calloc(rows, sizeof *b->report.rows);
    b->ids = nb_alloc(n * sizeof *b->ids);
    b->parts = nb_calloc(b->most_rows, sizeof *b->parts);
    if (!b->report.rows || !b->ids || !b->parts) return nb_oom(b->err, "the tests", n * sizeof *b->ids);
    uint32_t vocab = nb_model_hparams(model)->vocab_size, id = 1;
    for (size_t i = 0; i < n; i++, id = id * 1664525u + 1013904223u) b->ids[i] = (int32_t)((id >> 8) % vocab);
    b->total = b->n_threads * b->n_kv * b->o->reps * ((b->o->prefill > 0) + (b->o->max_tokens > 0) * b->n_rows);
    progress_begin(&b->bar);
    nb_status st = measure_machine(b, nb_model_kernels(model));
    for (size_t t = 0; !st && t < b->n_threads; t++)
        for (size_t k = 0; !st && k < b->n_kv; k++) st = measure(b, model, (int)b->threads[t], k);
    progress_end(&b->bar);
    return st;
}

int cmd_bench(const options *o) {
    nb_error err = {0};
    bench b = {.o = o, .err = &err};
    engine e = {0};
    int code = parse_lists(&b);
    if (code) return code;
    nb_status st = engine_open(&e, o, o->args[0], &err);
    /* Members that sleep cost nothing, but a team must not stand beside the one that is measured. */
    nb_team_free(e.team);
    e.team = NULL;
    if (!st) st = measure_all(&b, e.model);
    if (!st) code = bench_print(&b.report, o);
    for (size_t i = 0; i < b.report.n; i++) nb_free(b.report.rows[i].samples);
    nb_free(b.report.rows);
    nb_free(b.ids);
    nb_free(b.parts);
    nb_prober_close(&b.prober);
    engine_close(&e);
    return st ? fail(&err) : code;
}
