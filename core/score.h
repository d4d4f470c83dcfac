/* What logits say about one position: how well they predict the token that came, and how far they are from the logits
 * of a reference; and how such values of many positions are summed up.
 *
 * Everything is double precision in a fixed order (ids ascending, positions ascending) over base/dmath.h: the same bits
 * on every machine, whatever the number of threads. Pure functions, thread-safe. */
#ifndef NB_CORE_SCORE_H
#define NB_CORE_SCORE_H

#include <stddef.h>
#include <stdint.h>

/* log(sum exp(x[i])), n >= 1: the log-probability of token i is x[i] minus that. */
double nb_log_sum_exp(const float *x, size_t n);

/* The sum of a[i] - b[i] log-probabilities under the distribution a: KL(P || Q) in nats, with P and Q as logits [n] and
 * their log-sum-exps. Never negative. */
double nb_divergence(const float *p, double p_lse, const float *q, double q_lse, size_t n);

/* A distribution in short: its likeliest tokens, and the probability of all others together. */
typedef struct nb_top {
    double lse, rest;
    const float *logits; /* [n] */
    const int32_t *ids;  /* [n], ascending */
    size_t n;
} nb_top;

/* The probability, under logits [n_vocab], of the tokens that ids [n], ascending, does not list: summed itself, not
 * what is left of 1, so that it is exact where it is small. */
double nb_rest(const float *logits, double lse, size_t n_vocab, const int32_t *ids, size_t n);

/* The divergence from P when of P only this is known. All tokens outside the list are taken as one event; by the data
 * processing inequality (Cover and Thomas, Elements of Information Theory, 2.8) that is at most KL(P || Q), and what is
 * missing is rest * KL(P given the rest || Q given the rest). With every token in the list it is nb_divergence, bit for
 * bit. */
double nb_divergence_top(const nb_top *p, const float *q, double q_lse, size_t n_vocab);

typedef struct nb_mean {
    double mean, error; /* error: the standard error of the mean, 0 for one value */
} nb_mean;
nb_mean nb_mean_of(const double *x, size_t n); /* n >= 1 */

/* Sort ascending; no NaN. */
void nb_sort_values(double *x, size_t n);
/* Of sorted x[n]: the smallest value that a share 0 < share <= 1 of them does not exceed. */
double nb_quantile(const double *x, size_t n, double share);
double nb_median(const double *x, size_t n); /* the mean of the two in the middle when n is even */

#endif
