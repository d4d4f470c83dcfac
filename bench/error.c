/* nibble-bench --error: what quantizing loses, by type and by how weights are distributed. The numbers are the same on
 * every machine. */
#include <math.h>
#include <stdio.h>
#include "base/dmath.h"
#include "base/mem.h"
#include "bench/bench.h"
#include "quant/quantize.h"

enum { ROWS = 512, COLS = 2048 };
static const double SPREAD = 0.02; /* of weights in models of this size; the ratios do not depend on it */

/* splitmix64 (Steele, Lea and Flood 2014), in (0, 1) */
static double uniform(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return ((double)((z ^ z >> 31) >> 12) + 0.5) * 0x1p-52;
}
static double gaussian(uint64_t *state) { /* Box and Muller 1958 */
    double radius = sqrt(-2.0 * nb_log(uniform(state))), sine, cosine;
    nb_sincos(6.283185307179586 * uniform(state), &sine, &cosine);
    return radius * cosine;
}
static double laplace(uint64_t *state) {
    double u = uniform(state);
    return u < 0.5 ? nb_log(2.0 * u) : -nb_log(2.0 - 2.0 * u);
}
static double student5(uint64_t *state) { /* a Gaussian over the root of chi^2 / 5 */
    double n = gaussian(state), chi = 0.0;
    for (int i = 0; i < 5; i++) {
        double g = gaussian(state);
        chi += g * g;
    }
    return n / sqrt(chi / 5.0);
}

void bench_gaussian(float *w, size_t n) {
    uint64_t state = 1;
    for (size_t i = 0; i < n; i++) w[i] = (float)(SPREAD * gaussian(&state));
}

static const struct {
    const char *name;
    double (*draw)(uint64_t *state);
} spreads[] = {{"Gaussian", gaussian}, {"Laplace", laplace}, {"Student-t(5)", student5}};
enum { N_SPREADS = sizeof spreads / sizeof *spreads };

static void draw_matrix(float *w, size_t spread) {
    uint64_t state = 1;
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++) w[i] = (float)(SPREAD * spreads[spread].draw(&state));
}

/* As a converter quantizes a matrix: its codebook is learned from a sample of it. */
static double snr_of(nb_type type, const nb_search *search, const float *w, float *memory, uint8_t *panel) {
    nb_quant_error lost = {0};
    nb_quantizer q;
    int8_t codebook[NB_CODEBOOK_SIZE];
    size_t n_panels = ROWS / NB_PANEL_ROWS, p;
    nb_codebook_sample sample;
    nb_sample_init(&sample, memory);
    for (size_t i = 0; (p = nb_sample_panel(n_panels, i)) < n_panels; i++)
        nb_sample_add(&sample, search, &(nb_rows){w + p * NB_PANEL_ROWS * COLS, NB_PANEL_ROWS, COLS, COLS, NB_TYPE_F32},
                      NULL);
    nb_codebook_learn(search, &sample, codebook);
    nb_quantizer_init(&q, type, codebook, search);
    for (size_t row = 0; row < ROWS; row += NB_PANEL_ROWS)
        nb_quantize_panel(&q, w + row * COLS, NB_PANEL_ROWS, COLS, COLS, panel, &lost);
    return nb_quant_error_snr(&lost);
}

nb_status bench_error(nb_error *err) {
    nb_kernels k;
    size_t floats = (size_t)ROWS * COLS;
    nb_status st = nb_kernels_choose(&k, NULL, err);
    if (st) return st;
    nb_search search = nb_kernels_search(&k);
    float *w[N_SPREADS] = {NULL};
    uint8_t *panel = nb_alloc((size_t)NB_PANEL_ROWS * COLS * sizeof(float));
    float *sample = nb_alloc(NB_SAMPLE_FLOATS * sizeof(float));
    if (!panel || !sample) st = nb_oom(err, "a panel", (size_t)NB_PANEL_ROWS * COLS * sizeof(float));
    printf("signal-to-noise ratio in dB of %d x %d weights\n%-6s %15s", ROWS, COLS, "type", "bits per weight");
    for (size_t i = 0; !st && i < N_SPREADS; i++) {
        w[i] = nb_alloc(floats * sizeof(float));
        if (!w[i]) st = nb_oom(err, "weights", floats * sizeof(float));
        else draw_matrix(w[i], i);
        printf(" %13s", spreads[i].name);
    }
    printf("\n");
    for (int t = 0; !st && t < NB_TYPE_COUNT; t++) {
        uint64_t bytes;
        if (!nb_panels_bytes((nb_type)t, ROWS, COLS, &bytes)) continue;
        printf("%-6s %15.3f", nb_types[t].name, 8.0 * (double)bytes / (double)floats);
        for (size_t i = 0; i < N_SPREADS; i++) printf(" %13.2f", snr_of((nb_type)t, &search, w[i], sample, panel));
        printf("\n");
    }
    for (size_t i = 0; i < N_SPREADS; i++) nb_free(w[i]);
    nb_free(sample);
    nb_free(panel);
    return st;
}
