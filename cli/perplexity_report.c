#include "cli/perplexity.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/dmath.h"
#include "cli/common.h"
#include "core/score.h"

typedef struct results {
    nb_mean ce, reference, kl;
    double perplexity, bits_per_byte, kl_median, kl_p99, kl_max, agreement;
} results;

static results evaluate(token_scores *s) {
    results r = {.ce = nb_mean_of(s->ce, s->n)};
    r.perplexity = nb_exp(r.ce.mean);
    if (s->bytes > 0) r.bits_per_byte = r.ce.mean * (double)s->n / nb_log(2) / s->bytes;
    if (!s->compared) return r;
    r.reference = nb_mean_of(s->reference_ce, s->n);
    r.kl = nb_mean_of(s->kl, s->n);
    nb_sort_values(s->kl, s->n);
    r.kl_median = nb_median(s->kl, s->n);
    r.kl_p99 = nb_quantile(s->kl, s->n, 0.99);
    r.kl_max = s->kl[s->n - 1];
    r.agreement = (double)s->n_agree / (double)s->n;
    return r;
}

static int print_as_json(const token_scores *s, const results *r) {
    const struct {
        const char *name;
        double value;
        bool known;
    } values[] = {
        {"cross_entropy", r->ce.mean, true},
        {"cross_entropy_stderr", r->ce.error, true},
        {"perplexity", r->perplexity, true},
        {"perplexity_stderr", r->perplexity * r->ce.error, true},
        {"bits_per_byte", r->bits_per_byte, s->bytes > 0},
        {"reference_cross_entropy", r->reference.mean, s->compared},
        {"kl_mean", r->kl.mean, s->compared},
        {"kl_stderr", r->kl.error, s->compared},
        {"kl_median", r->kl_median, s->compared},
        {"kl_p99", r->kl_p99, s->compared},
        {"kl_max", r->kl_max, s->compared},
        {"top1_agreement", r->agreement, s->compared},
        {"reference_rest", s->rest, s->compared},
    };
    json_t *out = json_pack("{sI}", "tokens", (json_int_t)s->n);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        json_object_set_new(out, values[i].name, values[i].known ? json_number(values[i].value) : json_null());
    char identity[17];
    snprintf(identity, sizeof identity, "%016" PRIx64, s->reference_identity);
    json_object_set_new(out, "reference_identity", s->compared ? json_string(identity) : json_null());
    return print_json(out);
}

static int print_readable(const token_scores *s, const results *r) {
    printf("tokens           %zu\n", s->n);
    printf("cross-entropy    %.6f +- %.6f nats\n", r->ce.mean, r->ce.error);
    printf("perplexity       %.4f +- %.4f\n", r->perplexity, r->perplexity * r->ce.error);
    if (s->bytes > 0) printf("bits per byte    %.4f\n", r->bits_per_byte);
    if (!s->compared) return EXIT_SUCCESS;
    printf("of the reference %.6f nats, perplexity %.4f\n", r->reference.mean, nb_exp(r->reference.mean));
    printf("KL divergence    %.6f +- %.6f nats, median %.6f, 99 %% at most %.6f, largest %.6f\n", r->kl.mean,
           r->kl.error, r->kl_median, r->kl_p99, r->kl_max);
    if (s->rest > 0)
        printf("                 at least: %.3g %% of the probability counts as one token\n", 100 * s->rest);
    printf("top-1 agreement  %.2f %%\n", 100 * r->agreement);
    return EXIT_SUCCESS;
}

int perplexity_report(token_scores *s, bool json) {
    results r = evaluate(s);
    return json ? print_as_json(s, &r) : print_readable(s, &r);
}
