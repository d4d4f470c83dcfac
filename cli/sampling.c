#include "cli/sampling.h"

#include <math.h>
#include <string.h>
#include "base/mem.h"
#include "cli/common.h"

/* ID=B, where B may be -inf. */
static nb_status read_bias(const char *text, nb_logit_bias *bias, nb_error *err) {
    char id[24];
    const char *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : 0;
    uint64_t number;
    double value = -HUGE_VAL;
    if (n && n < sizeof id) {
        memcpy(id, text, n);
        id[n] = '\0';
        bool known = !strcmp(equals + 1, "-inf") || parse_double(equals + 1, &value);
        if (known && parse_u64(id, &number) && number <= INT32_MAX) {
            *bias = (nb_logit_bias){.id = (int32_t)number, .bias = (float)value};
            return NB_OK;
        }
    }
    return nb_fail(err, NB_ARGUMENT, "--logit-bias takes ID=B with a token id and a number or -inf, not '%s'", text);
}

static nb_status read_biases(sampling *s, const options *o, nb_error *err) {
    nb_status st = NB_OK;
    s->bias = nb_calloc(o->logit_bias.n, sizeof *s->bias);
    if (!s->bias) return nb_oom(err, "biases", o->logit_bias.n * sizeof *s->bias);
    for (size_t i = 0; !st && i < o->logit_bias.n; i++) st = read_bias(o->logit_bias.v[i], &s->bias[i], err);
    s->params.bias = s->bias;
    s->params.n_bias = o->logit_bias.n;
    return st;
}

nb_status sampling_read(sampling *s, const options *o, nb_error *err) {
    *s = (sampling){.params = {.temperature = (float)o->temp,
                               .top_k = (uint32_t)o->top_k,
                               .typical_p = (float)o->typical,
                               .top_p = (float)o->top_p,
                               .min_p = (float)o->min_p,
                               .min_keep = (uint32_t)o->min_keep,
                               .repeat_penalty = (float)o->repeat_penalty,
                               .frequency_penalty = (float)o->frequency_penalty,
                               .presence_penalty = (float)o->presence_penalty,
                               .repeat_last_n = (uint32_t)o->repeat_last_n,
                               .seed = o->seed}};
    nb_status st = read_biases(s, o, err);
    for (size_t i = 0; !st && i < o->stop_tokens.n; i++)
        st = parse_ids(o->stop_tokens.v[i], strlen(o->stop_tokens.v[i]), "--stop-token", &s->stop_tokens, err);
    for (size_t i = 0; !st && i < o->stops.n; i++)
        if (!*o->stops.v[i]) st = nb_fail(err, NB_ARGUMENT, "--stop takes a text, which may not be empty");
    return st ? st : nb_sampler_params_check(&s->params, err);
}

void sampling_free(sampling *s) {
    nb_free(s->bias);
    nb_ids_free(&s->stop_tokens);
    *s = (sampling){0};
}

nb_generate_options sampling_options(const sampling *s, const options *o) {
    return (nb_generate_options){.sampling = s->params,
                                 .max_tokens = (uint32_t)o->max_tokens,
                                 .stops = o->stops.v,
                                 .n_stops = o->stops.n,
                                 .stop_tokens = s->stop_tokens.data,
                                 .n_stop_tokens = s->stop_tokens.size,
                                 .lookup = (uint32_t)o->lookup};
}
