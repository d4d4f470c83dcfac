/* The results of `nibble bench` as text, CSV, a Markdown table or JSON. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/bench.h"
#include "cli/common.h"

static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static uint64_t bytes_per_token(const bench_model *m) {
    return m->block_bytes + m->head_bytes;
}

/* ---- JSON */

static json_t *size_json(uint64_t n) {
    return json_integer((json_int_t)n);
}

static json_t *machine_json(const bench_machine *m) {
    return json_pack("{ss,ss,si,si,so,so,so,so}", "cpu", m->cpu, "isa", m->isa, "cores", m->cores, "threads",
                     m->threads, "dram_gbps", json_number(m->dram / 1e9), "dram_gbps_one_thread",
                     json_number(m->dram_one_thread / 1e9), "int8_gops", json_number(m->int8 / 1e9), "fma_gflops",
                     json_number(m->fma / 1e9));
}

static json_t *model_json(const bench_model *m) {
    return json_pack("{ss,so,ss,ss,so,so,so}", "file", file_name(m->path), "identity",
                     json_sprintf("%016" PRIx64, nb_model_identity(m->model)), "architecture",
                     nb_model_architecture(m->model), "type", nb_types[m->type].name, "weight_bytes",
                     size_json(nb_model_weight_bytes(m->model)), "multiplications_per_token", size_json(m->block_macs),
                     "multiplications_of_head", size_json(m->head_macs));
}

static json_t *row_json(const bench_row *r, const bench_model *m) {
    json_t *samples = json_array();
    for (size_t i = 0; i < r->n; i++) json_array_append_new(samples, json_number(r->samples[i]));
    json_t *rates = json_pack("{so,so,so,so}", "median", json_number(r->median), "mean", json_number(r->mean), "sd",
                              json_number(r->sd), "samples", samples);
    return json_pack("{ss,sI,sI,sI,si,ss,so,sI,so,so,so}", "test", r->test, "tokens", (json_int_t)r->tokens, "rows",
                     (json_int_t)r->rows, "depth", (json_int_t)r->depth, "threads", r->threads, "kv", r->kv,
                     "tokens_per_second", rates, "dropped", (json_int_t)r->dropped, "weight_bytes_per_token",
                     size_json(bytes_per_token(m)), "share_of_dram", json_number(r->share_of_dram),
                     "share_of_int8_peak", json_number(r->share_of_int8));
}

static int print_as_json(const bench_report *r) {
    json_t *tests = json_array();
    for (size_t i = 0; i < r->n; i++) json_array_append_new(tests, row_json(&r->rows[i], &r->model));
    return print_json(
        json_pack("{so,so,so}", "machine", machine_json(&r->machine), "model", model_json(&r->model), "tests", tests));
}

/* ---- comma-separated values, RFC 4180 */

static void put_quoted(const char *text) {
    putchar('"');
    for (; *text; text++) {
        if (*text == '"') putchar('"');
        putchar(*text);
    }
    putchar('"');
}

static void print_csv(const bench_report *r) {
    puts("file,isa,test,tokens,rows,depth,threads,kv,samples,dropped,weight_bytes_per_token,median,mean,sd,"
         "share_of_dram,share_of_int8_peak");
    for (size_t i = 0; i < r->n; i++) {
        const bench_row *t = &r->rows[i];
        const double numbers[] = {t->median, t->mean, t->sd, t->share_of_dram, t->share_of_int8};
        put_quoted(file_name(r->model.path));
        printf(",%s,%s,%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%d,%s,%zu,%zu,%" PRIu64, r->machine.isa, t->test, t->tokens,
               t->rows, t->depth, t->threads, t->kv, t->n, t->dropped, bytes_per_token(&r->model));
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
            if (isfinite(numbers[k])) printf(",%.6g", numbers[k]);
            else putchar(',');
        }
        putchar('\n');
    }
}

/* ---- tables for people */

enum { CELL = 32 };

static const char *rate_cell(char text[CELL], double value) {
    if (!isfinite(value)) return "-";
    snprintf(text, CELL, "%.2f", value);
    return text;
}

static const char *share_cell(char text[CELL], double value) {
    if (!isfinite(value)) return "-";
    snprintf(text, CELL, "%.1f %%", 100 * value);
    return text;
}

static void print_machine(const bench_report *r, const char *end) {
    const bench_machine *m = &r->machine;
    char size[SIZE_TEXT];
    printf("%s: %s, %s, %s of weights per token%s\n", file_name(r->model.path), nb_model_architecture(r->model.model),
           nb_types[r->model.type].name, size_text(bytes_per_token(&r->model), size), end);
    printf("%s, %d cores, %s: reads %.1f GB/s (one thread %.1f), int8 %.0f GOPS, f32 %.0f GFLOPS with %d thread%s%s\n",
           m->cpu, m->cores, m->isa, m->dram / 1e9, m->dram_one_thread / 1e9, m->int8 / 1e9, m->fma / 1e9, m->threads,
           m->threads == 1 ? "" : "s", end);
}

enum { COLUMNS = 10 };
static const struct {
    const char *title;
    int width; /* negative: to the left */
} columns[COLUMNS] = {{"test", -8},     {"tokens", 6}, {"rows", 4}, {"depth", 6},   {"threads", 7}, {"kv", -4},
                      {"tokens/s", 10}, {"+-", 8},     {"of DRAM", 9}, {"of int8", 9}};

static void print_cells(const char *const cells[COLUMNS], bool markdown) {
    for (size_t i = 0; i < COLUMNS; i++) {
        if (markdown) printf("| %s ", cells[i]);
        else printf("%*s%s", columns[i].width, cells[i], i + 1 < COLUMNS ? " " : "");
    }
    puts(markdown ? "|" : "");
}

static void print_table(const bench_report *r, bool markdown) {
    const char *cells[COLUMNS];
    print_machine(r, markdown ? "  " : "");
    putchar('\n');
    for (size_t i = 0; i < COLUMNS; i++) cells[i] = columns[i].title;
    print_cells(cells, markdown);
    for (size_t i = 0; i < COLUMNS; i++) cells[i] = columns[i].width < 0 ? "---" : "---:";
    if (markdown) print_cells(cells, true);
    for (size_t i = 0; i < r->n; i++) {
        const bench_row *t = &r->rows[i];
        char text[8][CELL];
        snprintf(text[0], CELL, "%" PRIu32, t->tokens);
        snprintf(text[1], CELL, "%" PRIu32, t->rows);
        snprintf(text[2], CELL, "%" PRIu32, t->depth);
        snprintf(text[3], CELL, "%d", t->threads);
        const char *const row[COLUMNS] = {t->test, text[0], text[1], text[2], text[3], t->kv,
                                          rate_cell(text[4], t->median), rate_cell(text[5], t->sd),
                                          share_cell(text[6], t->share_of_dram), share_cell(text[7], t->share_of_int8)};
        print_cells(row, markdown);
    }
}

int bench_print(const bench_report *r, const options *o) {
    if (o->json) return print_as_json(r);
    if (o->csv) print_csv(r);
    else print_table(r, o->md);
    return EXIT_SUCCESS;
}
