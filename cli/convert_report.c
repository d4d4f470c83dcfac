#include "cli/convert_report.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include "base/mem.h"
#include "cli/common.h"
#include "convert/names.h"

/* ---- what is told of a tensor or a class of them */

typedef struct facts {
    uint64_t parameters, raw_bytes;
    const nb_quant_error *error;
} facts;

static facts facts_of(const nb_convert_tensor *t) {
    return (facts){t->rows * t->cols, t->raw_bytes, &t->error};
}
static facts facts_of_class(const nb_convert_class *c) {
    return (facts){c->parameters, c->raw_bytes, &c->error};
}

static double bits_per_weight(const facts *f) {
    return f->parameters ? 8 * (double)f->raw_bytes / (double)f->parameters : 0;
}

/* "25.7 dB", "exact" */
enum { SNR_TEXT = 24 };
static const char *snr_text(const facts *f, char text[SNR_TEXT]) {
    double snr = nb_quant_error_snr(f->error);
    snprintf(text, SNR_TEXT, isfinite(snr) ? "%.1f dB" : "exact", snr);
    return text;
}

static uint64_t count_parameters(const nb_convert_list *list) {
    uint64_t n = 0;
    for (size_t i = 0; i < list->n; i++) n += list->tensors[i].rows * list->tensors[i].cols;
    return n;
}

nb_status conversion_text(const conversion *c, nb_buf *out, nb_error *err) {
    nb_convert_class *classes;
    size_t n;
    nb_status st = nb_convert_classes(c->list, &classes, &n, err);
    double all = (double)count_parameters(c->list);
    for (size_t i = 0; i < n && !st; i++) {
        char snr[SNR_TEXT];
        facts f = facts_of_class(&classes[i]);
        nb_buf_printf(out, "  %-12s %9s  %5.2f bits  %5.1f %% of the parameters\n", classes[i].name, snr_text(&f, snr),
                      bits_per_weight(&f), 100 * (double)f.parameters / all);
    }
    nb_free(classes);
    return st;
}

/* ---- the page; names without folders: the same conversion elsewhere writes the same page */

typedef struct page {
    const conversion *c;
    nb_buf *out;
    nb_convert_class *classes;
    size_t n_classes;
    uint64_t parameters;
    int32_t n_layer;
} page;

static void put_escaped(nb_buf *out, const char *text) {
    static const struct {
        char c;
        const char *entity;
    } special[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    for (; *text; text++) {
        size_t i = 0, n = sizeof special / sizeof *special;
        while (i < n && special[i].c != *text) i++;
        if (i < n) nb_buf_text(out, special[i].entity);
        else nb_buf_byte(out, (uint8_t)*text);
    }
}

static size_t class_index(const page *p, const nb_convert_tensor *t) {
    size_t i = 0;
    while (i + 1 < p->n_classes && strcmp(p->classes[i].name, t->class) != 0) i++;
    return i;
}

/* What the loss of a tensor may mean for the model, as far as its weights tell: the relative squared error times the
 * share of all parameters. */
static double loss_times_share(const page *p, const facts *f) {
    return nb_convert_loss(f->error) * (double)f->parameters / (double)p->parameters;
}

/* ---- plots: a point for every matrix over its block; a class is a line. */

static const double no_point = (double)NAN;

typedef struct plot {
    const char *title, *note;
    bool logarithmic;
    double (*value)(const page *p, const facts *f);
} plot;

static double plot_snr(const page *p, const facts *f) {
    (void)p;
    double snr = nb_quant_error_snr(f->error);
    return isfinite(snr) ? snr : no_point;
}
static double plot_bits(const page *p, const facts *f) {
    (void)p;
    return bits_per_weight(f);
}
static double plot_loss(const page *p, const facts *f) {
    double loss = loss_times_share(p, f);
    return loss > 0 ? log10(loss) : no_point;
}

static const plot plots[] = {
    {"Signal-to-noise ratio, dB", "Higher is better: 6 dB are one bit. What is exact has no point.", false, plot_snr},
    {"Bits per weight", "With the scales of blocks and rows, as in memory.", false, plot_bits},
    {"Sensitivity: relative squared error &times; share of the parameters",
     "Where most of the model's error lies: of calibrated matrices, the error of what they give for the text that was read; of "
     "others, that of the weights alone.", true, plot_loss},
};

enum { WIDTH = 760, HEIGHT = 250, LEFT = 64, RIGHT = 14, TOP = 12, BOTTOM = 38 };

typedef struct axis {
    double low, high, step;
} axis;

/* Whole steps of 1, 2 or 5 times a power of ten around the values. */
static axis axis_of(const page *p, const plot *q) {
    double low = (double)INFINITY, high = -(double)INFINITY;
    for (size_t i = 0; i < p->c->list->n; i++) {
        facts f = facts_of(&p->c->list->tensors[i]);
        double v = p->c->list->tensors[i].matrix ? q->value(p, &f) : no_point;
        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    if (!(low <= high)) return (axis){0, 1, 1};
    double span = high - low > 0.5 ? high - low : 0.5, tens = pow(10, floor(log10(span / 4))), part = span / 4 / tens;
    double step = q->logarithmic ? 1 : tens * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
    axis a = {.low = floor(low / step) * step, .high = ceil(high / step) * step, .step = step};
    if (a.high <= a.low) a.high = a.low + step;
    return a;
}

/* Blocks from left to right; the model's own first matrix stands before them, others of its own behind. */
static double x_of(const page *p, const nb_convert_tensor *t) {
    double slots = p->n_layer + 2, slot = t->layer >= 0 ? t->layer + 1 : t == p->c->list->tensors ? 0 : p->n_layer + 1;
    return LEFT + (slot + 0.5) / slots * (WIDTH - LEFT - RIGHT);
}
static double y_of(const axis *a, double v) {
    return TOP + (a->high - v) / (a->high - a->low) * (HEIGHT - TOP - BOTTOM);
}

static void put_axes(const page *p, const plot *q, const axis *a) {
    int steps = (int)((a->high - a->low) / a->step + 0.5);
    for (int i = 0; i <= steps; i++) {
        double v = a->low + i * a->step, y = y_of(a, v);
        nb_buf_printf(p->out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text class=\"left\" x=\"%d\" y=\"%.1f\">", LEFT,
                      y, WIDTH - RIGHT, LEFT - 8, y + 4);
        if (q->logarithmic) nb_buf_printf(p->out, "10<tspan class=\"power\" dy=\"-5\">%.0f</tspan></text>\n", v);
        else nb_buf_printf(p->out, "%.4g</text>\n", v);
    }
    int32_t every = p->n_layer / 16 + 1;
    for (int32_t layer = 0; layer < p->n_layer; layer += every)
        nb_buf_printf(p->out, "<text class=\"below\" x=\"%.1f\" y=\"%d\">%" PRId32 "</text>\n",
                      x_of(p, &(nb_convert_tensor){.layer = layer}), HEIGHT - BOTTOM + 16, layer);
    nb_buf_printf(p->out, "<text class=\"below\" x=\"%d\" y=\"%d\">block</text>\n", (LEFT + WIDTH - RIGHT) / 2,
                  HEIGHT - 4);
}

static void put_line(const page *p, const plot *q, const axis *a, size_t class) {
    nb_buf points = {0};
    bool begun = false;
    nb_buf_printf(p->out, "<g class=\"c%zu\"><path d=\"", class % 8);
    for (const nb_convert_tensor *t = p->c->list->tensors; t < p->c->list->tensors + p->c->list->n; t++) {
        facts f = facts_of(t);
        double v = class_index(p, t) == class ? q->value(p, &f) : no_point;
        if (isnan(v)) continue;
        nb_buf_printf(p->out, "%s%.1f %.1f", begun ? "L" : "M", x_of(p, t), y_of(a, v));
        nb_buf_printf(&points, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>", x_of(p, t), y_of(a, v));
        put_escaped(&points, t->name);
        nb_buf_printf(&points, ": %.4g</title></circle>\n", q->logarithmic ? pow(10, v) : v);
        begun = true;
    }
    nb_buf_printf(p->out, "%s\"/>\n%s</g>\n", begun ? "" : "M0 0", nb_buf_str(&points));
    p->out->failed |= points.failed;
    nb_buf_free(&points);
}

static void put_plot(const page *p, const plot *q) {
    axis a = axis_of(p, q);
    nb_buf_printf(p->out,
                  "<figure><figcaption><b>%s</b><br>%s</figcaption>\n"
                  "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n",
                  q->title, q->note, WIDTH, HEIGHT, q->title);
    put_axes(p, q, &a);
    for (size_t i = 0; i < p->n_classes; i++)
        if (p->classes[i].matrix) put_line(p, q, &a, i);
    nb_buf_text(p->out, "</svg></figure>\n");
}

/* ---- tables */

static void put_numbers(const page *p, const facts *f) {
    char snr[SNR_TEXT], size[SIZE_TEXT];
    nb_buf_printf(p->out, "<td>%" PRIu64 "<td>%s<td>%.2f<td>%s<td>%.3g<td>%.3g\n", f->parameters,
                  size_text(f->raw_bytes, size), bits_per_weight(f), snr_text(f, snr), f->error->largest,
                  loss_times_share(p, f));
}

#define NUMBERS_HEAD \
    "<th>parameters<th>in memory<th>bits per weight<th>signal to noise<th>largest error<th>rel. error &times; share"

static void put_tables(const page *p) {
    nb_buf_text(p->out, "<h2>Classes of tensors</h2>\n<table><tr><th>class<th>tensors" NUMBERS_HEAD "\n");
    for (size_t i = 0; i < p->n_classes; i++) {
        facts f = facts_of_class(&p->classes[i]);
        nb_buf_printf(p->out, "<tr><td><i class=\"c%zu\"></i>", i % 8);
        put_escaped(p->out, p->classes[i].name);
        nb_buf_printf(p->out, "<td>%zu", p->classes[i].n);
        put_numbers(p, &f);
    }
    nb_buf_text(p->out, "</table>\n<h2>Tensors</h2>\n<table><tr><th>name<th>type<th>shape" NUMBERS_HEAD "\n");
    for (const nb_convert_tensor *t = p->c->list->tensors; t < p->c->list->tensors + p->c->list->n; t++) {
        facts f = facts_of(t);
        nb_buf_text(p->out, "<tr><td>");
        put_escaped(p->out, t->name);
        nb_buf_printf(p->out, "<td>%s<td>%" PRIu64 " &times; %" PRIu64, nb_types[t->type].name, t->rows, t->cols);
        put_numbers(p, &f);
    }
    nb_buf_text(p->out, "</table>\n");
}

static void put_texts(const page *p, const char *label, const texts *list) {
    for (size_t i = 0; i < list->n; i++) {
        nb_buf_printf(p->out, "<tr><td>%s<td>", label);
        put_escaped(p->out, list->v[i]);
    }
}

static void put_fact(const page *p, const char *label, const char *value) {
    nb_buf_printf(p->out, "<tr><td>%s<td>", label);
    put_escaped(p->out, value);
    nb_buf_byte(p->out, '\n');
}

static void put_facts(const page *p) {
    const options *o = p->c->o;
    const nb_convert_report *r = p->c->report;
    char text[64], size[SIZE_TEXT];
    nb_buf_text(p->out, "<table class=\"facts\">\n");
    put_fact(p, "source", nb_name_base(p->c->source));
    put_fact(p, "form", r->form);
    put_fact(p, "architecture", r->architecture);
    put_fact(p, "file", nb_name_base(p->c->target));
    snprintf(text, sizeof text, "%016" PRIx64, r->identity);
    put_fact(p, "identity", text);
    snprintf(text, sizeof text, "%s, %.2f bits per parameter", size_text(r->file_bytes, size),
             r->parameters ? 8 * (double)r->file_bytes / (double)r->parameters : 0);
    put_fact(p, "size", text);
    put_fact(p, "--type", o->type);
    put_texts(p, "--type-of", &o->type_rules);
    put_texts(p, "--keep-f32", &o->keep_f32);
    put_texts(p, "--set", &o->settings);
    put_fact(p, "--store", o->store);
    nb_buf_text(p->out, "</table>\n");
}

static const char head[] =
    "<meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n<style>\n"
    ":root{color-scheme:light dark;--back:#fff;--text:#1b1b1b;--line:#dcdcdc}\n"
    ".c0{color:#0072b2}.c1{color:#b34f00}.c2{color:#00795a}.c3{color:#b0467f}\n"
    ".c4{color:#806600}.c5{color:#2a85ba}.c6{color:#6a3d9a}.c7{color:#555}\n"
    "@media(prefers-color-scheme:dark){:root{--back:#161616;--text:#e8e8e8;--line:#3a3a3a}\n"
    ".c0{color:#58b2ea}.c1{color:#f08a43}.c2{color:#3cc79b}.c3{color:#e393c0}\n"
    ".c4{color:#d9bd4a}.c5{color:#90d2f5}.c6{color:#b796e0}.c7{color:#aaa}}\n"
    "body{background:var(--back);color:var(--text);font:15px/1.5 system-ui,sans-serif;"
    "max-width:72rem;margin:2rem auto;padding:0 1rem}\n"
    "figure{margin:1.5rem 0}svg{width:100%;height:auto}svg text{fill:var(--text);font-size:12px}\n"
    ".grid{stroke:var(--line)}.left{text-anchor:end}.below{text-anchor:middle}svg .power{font-size:9px}\n"
    "g path{fill:none;stroke:currentColor;stroke-width:1.5}circle{fill:currentColor}\n"
    "i{display:inline-block;width:.8em;height:.8em;border-radius:50%;background:currentColor;margin-right:.4em}\n"
    "table{border-collapse:collapse;display:block;overflow-x:auto;font-variant-numeric:tabular-nums}\n"
    "th,td{border-bottom:1px solid var(--line);padding:.2rem .7rem;text-align:right;white-space:nowrap}\n"
    "th:first-child,td:first-child,.facts td{text-align:left}.legend span{margin-right:1.2em}\n</style>\n";

static void put_page(const page *p) {
    nb_buf_text(p->out, "<!DOCTYPE html>\n<html lang=\"en\">\n<title>");
    put_escaped(p->out, nb_name_base(p->c->target));
    nb_buf_text(p->out, ": what the conversion lost</title>\n");
    nb_buf_text(p->out, head);
    nb_buf_text(p->out, "<h1>");
    put_escaped(p->out, nb_name_base(p->c->target));
    nb_buf_text(p->out, "</h1>\n");
    put_facts(p);
    nb_buf_text(p->out, "<h2>Block by block</h2>\n<p class=\"legend\">");
    for (size_t i = 0; i < p->n_classes; i++) {
        if (!p->classes[i].matrix) continue;
        nb_buf_printf(p->out, "<span><i class=\"c%zu\"></i>", i % 8);
        put_escaped(p->out, p->classes[i].name);
        nb_buf_text(p->out, "</span>");
    }
    nb_buf_text(p->out, "</p>\n");
    for (size_t i = 0; i < sizeof plots / sizeof *plots; i++) put_plot(p, &plots[i]);
    put_tables(p);
    nb_buf_text(p->out, "</html>\n");
}

nb_status conversion_html(const conversion *c, nb_buf *out, nb_error *err) {
    page p = {.c = c, .out = out, .parameters = count_parameters(c->list)};
    for (size_t i = 0; i < c->list->n; i++)
        if (c->list->tensors[i].layer >= p.n_layer) p.n_layer = c->list->tensors[i].layer + 1;
    nb_status st = nb_convert_classes(c->list, &p.classes, &p.n_classes, err);
    if (!st) put_page(&p);
    nb_free(p.classes);
    return !st && out->failed ? nb_oom(err, "the report", out->size) : st;
}
