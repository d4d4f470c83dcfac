#include "core/score.h"

#include <math.h>
#include <stdlib.h>
#include "base/dmath.h"

double nb_log_sum_exp(const float *x, size_t n) {
    float max = x[0];
    for (size_t i = 1; i < n; i++) max = x[i] > max ? x[i] : max;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += nb_exp((double)x[i] - (double)max);
    return (double)max + nb_log(sum);
}

/* p (log p - log q); 0 where p is 0, as its limit is. */
static double term(double log_p, double log_q) {
    double p = nb_exp(log_p);
    return p > 0 ? p * (log_p - log_q) : 0;
}

static double not_negative(double sum) { return sum > 0 || isnan(sum) ? sum : 0; } /* rounding may leave -1e-17 */

double nb_divergence(const float *p, double p_lse, const float *q, double q_lse, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += term((double)p[i] - p_lse, (double)q[i] - q_lse);
    return not_negative(sum);
}

double nb_rest(const float *logits, double lse, size_t n_vocab, const int32_t *ids, size_t n) {
    double sum = 0;
    for (size_t i = 0, next = 0; i < n_vocab; i++) {
        if (next < n && (size_t)ids[next] == i) next++;
        else sum += nb_exp((double)logits[i] - lse);
    }
    return sum;
}

double nb_divergence_top(const nb_top *p, const float *q, double q_lse, size_t n_vocab) {
    double sum = 0;
    for (size_t i = 0; i < p->n; i++)
        sum += term((double)p->logits[i] - p->lse, (double)q[p->ids[i]] - q_lse);
    if (p->rest > 0) sum += p->rest * (nb_log(p->rest) - nb_log(nb_rest(q, q_lse, n_vocab, p->ids, p->n)));
    return not_negative(sum);
}

nb_mean nb_mean_of(const double *x, size_t n) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    return (nb_mean){mean, n > 1 ? sqrt(squares / (double)(n - 1) / (double)n) : 0};
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void nb_sort_values(double *x, size_t n) { qsort(x, n, sizeof *x, by_value); }

double nb_quantile(const double *x, size_t n, double share) {
    double rank = ceil(share * (double)n);
    return x[rank < 1 ? 0 : rank > (double)n ? n - 1 : (size_t)rank - 1];
}

double nb_median(const double *x, size_t n) { return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2; }
