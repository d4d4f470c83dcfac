/* nibble perplexity: how well a model predicts a text, and how far it is from another one. */
#include "cli/perplexity.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include "base/checked.h"
#include "base/mem.h"
#include "cli/common.h"
#include "cli/reference.h"
#include "core/batch.h"

enum { LOGIT_ROWS = 64 }; /* positions whose logits are computed and scored together */

/* A window: tokens [begin, end) are read from an empty context, those in [from, end) are scored. */
typedef struct window {
    size_t begin, from, end;
} window;

typedef struct measure {
    const options *o;
    engine e, reference; /* reference.model NULL: none. Its team is e's */
    nb_batch *batch, *reference_batch;
    reference_file saved; /* k 0: none */
    reference_writer writer; /* k 0: none */
    reference_room *rooms;   /* [team], for `saved` */
    nb_ids ids;
    size_t n_vocab, ctx, stride;
    window *windows; /* [n_windows], in order */
    size_t n_windows, n_scored, n_rows; /* n_rows: windows side by side */
    token_scores scores;
    bool *agree;  /* [scores.n], the scores' n_agree token by token */
    double *rest; /* [scores.n], of a saved reference */
} measure;

/* ---- scoring: consecutive positions at a time, over the team; what each leaves stands in its own place */

typedef struct tile {
    measure *m;
    size_t target; /* token that the first position predicts */
    size_t slot;   /* among the scores */
} tile;

/* Against the reference's distribution, from its logits or from what was saved of them. */
static void compare(measure *m, size_t slot, const float *reference, int member, const float *logits, double lse,
                    int32_t target) {
    const nb_kernels *k = nb_model_kernels(m->e.model);
    token_scores *s = &m->scores;
    size_t first = k->argmax(logits, m->n_vocab);
    if (reference) {
        double reference_lse = nb_log_sum_exp(reference, m->n_vocab);
        s->reference_ce[slot] = reference_lse - (double)reference[target];
        s->kl[slot] = nb_divergence(reference, reference_lse, logits, lse, m->n_vocab);
        m->agree[slot] = k->argmax(reference, m->n_vocab) == first;
        return;
    }
    double target_logit;
    nb_top top = reference_top(&m->saved, slot, &m->rooms[member], &target_logit);
    s->reference_ce[slot] = top.lse - target_logit;
    s->kl[slot] = nb_divergence_top(&top, logits, lse, m->n_vocab);
    m->agree[slot] = (size_t)top.ids[k->argmax(top.logits, top.n)] == first;
    m->rest[slot] = top.rest;
}

static void score_rows(void *arg, size_t begin, size_t end, int member) {
    const tile *t = arg;
    measure *m = t->m;
    for (size_t i = begin; i < end; i++) {
        const float *logits = nb_batch_logits(m->batch, i);
        int32_t target = m->ids.data[t->target + i];
        double lse = nb_log_sum_exp(logits, m->n_vocab);
        m->scores.ce[t->slot + i] = lse - (double)logits[target];
        if (m->scores.compared)
            compare(m, t->slot + i, m->reference_batch ? nb_batch_logits(m->reference_batch, i) : NULL, member, logits,
                    lse, target);
        if (m->writer.k) reference_record(&m->writer, i, member, logits, lse, target);
    }
}

static nb_status check_scores(const measure *m, const tile *t, size_t n, nb_error *err) {
    const token_scores *s = &m->scores;
    for (size_t i = t->slot; i < t->slot + n; i++)
        if (!isfinite(s->ce[i]) || (s->compared && (!isfinite(s->reference_ce[i]) || !isfinite(s->kl[i]))))
            return nb_fail(err, NB_FORMAT, "the logits at token %zu are not finite", t->target + (i - t->slot) - 1);
    return NB_OK;
}

/* Score positions first..first+n-1 of the last step, of which the first predicts token `target`. */
static nb_status score_positions(measure *m, size_t first, size_t n, size_t target, nb_error *err) {
    nb_status st = NB_OK;
    for (size_t at = 0; at < n && !st; at += LOGIT_ROWS) {
        size_t rows = nb_min_size(n - at, LOGIT_ROWS);
        tile t = {.m = m, .target = target + at, .slot = m->scores.n};
        nb_batch_compute(m->batch, (uint32_t)(first + at), (uint32_t)rows);
        if (m->reference_batch) nb_batch_compute(m->reference_batch, (uint32_t)(first + at), (uint32_t)rows);
        nb_team_for(m->e.team, rows, 1, score_rows, &t);
        m->scores.n += rows;
        st = check_scores(m, &t, rows, err);
        if (!st && m->writer.k) st = reference_append(&m->writer, rows, err);
    }
    return st;
}

/* Read the tokens [at, at + n) of every window that has them, and score what is to be scored. With several windows n
 * takes them whole, so that scores come in the order of the text. */
static nb_status step(measure *m, const window *windows, size_t n_windows, size_t at, size_t n, nb_batch_part *parts,
                      nb_error *err) {
    nb_batch *const batches[] = {m->batch, m->reference_batch};
    size_t n_parts = 0;
    for (size_t i = 0; i < n_windows; i++) {
        const window *w = &windows[i];
        size_t length = w->end - 1 - w->begin; /* nobody asks what follows the last token */
        if (at >= length) continue;
        parts[n_parts++] = (nb_batch_part){.row = (uint32_t)i, .n = (uint32_t)nb_min_size(n, length - at),
                                           .ids = m->ids.data + w->begin + at};
    }
    nb_status st = NB_OK;
    for (size_t i = 0; i < 2 && !st; i++)
        if (batches[i]) st = nb_batch_append(batches[i], parts, n_parts, err);
    for (size_t i = 0, first = 0; i < n_parts && !st; first += parts[i++].n) {
        const window *w = &windows[parts[i].row];
        size_t begin = nb_max_size(w->begin + at, w->from - 1), end = w->begin + at + parts[i].n;
        if (begin < end) st = score_positions(m, first + (begin - w->begin - at), end - begin, begin + 1, err);
    }
    return st;
}

static nb_status score_windows(measure *m, const window *windows, size_t n_windows, nb_batch_part *parts,
                               nb_error *err) {
    nb_status st = NB_OK;
    size_t longest = 0, n = nb_batch_chunk(m->batch) / m->n_rows;
    for (size_t i = 0; i < n_windows; i++) {
        longest = nb_max_size(longest, windows[i].end - 1 - windows[i].begin);
        nb_batch_rewind(m->batch, (uint32_t)i, 0);
        if (m->reference_batch) nb_batch_rewind(m->reference_batch, (uint32_t)i, 0);
    }
    for (size_t at = 0; at < longest && !st; at += n) {
        st = step(m, windows, n_windows, at, n, parts, err);
        if (!st && interrupted()) st = nb_fail(err, NB_CANCELLED, "interrupted");
    }
    return st;
}

static nb_status score_all(measure *m, nb_error *err) {
    nb_batch_part *parts = nb_calloc(m->n_rows, sizeof *parts);
    if (!parts) return nb_oom(err, "windows", m->n_rows * sizeof *parts);
    progress_bar bar;
    const nb_progress *progress = progress_begin(&bar);
    nb_status st = NB_OK;
    for (size_t i = 0; i < m->n_windows && !st; i += m->n_rows) {
        size_t n = nb_min_size(m->n_windows - i, m->n_rows);
        st = score_windows(m, m->windows + i, n, parts, err);
        if (!st && !nb_progress_step(progress, "reading", "tokens", m->windows[i + n - 1].end, m->ids.size))
            st = nb_fail(err, NB_CANCELLED, "interrupted");
    }
    progress_end(&bar);
    nb_free(parts);
    return st;
}

/* ---- the text */

static nb_status read_tokens(measure *m, size_t *text_bytes, nb_error *err) {
    if (m->o->tokens_file) return ids_from_options(NULL, m->o->tokens_file, &m->ids, err);
    const nb_tokenizer *t = need_tokenizer(m->e.model, m->o->args[0], err);
    if (!t) return NB_MISSING;
    nb_buf text = {0};
    nb_status st = nb_read_file(m->o->text_file, INPUT_LIMIT, &text, err);
    if (!st) st = nb_tokenize(t, nb_buf_str(&text), text.size, &m->ids, err);
    *text_bytes = text.size;
    nb_buf_free(&text);
    return st;
}

static nb_status check_tokens(const measure *m, nb_error *err) {
    if (m->ids.size < 2)
        return nb_fail(err, NB_ARGUMENT, "the text has %zu tokens; it takes two to predict one", m->ids.size);
    for (size_t i = 0; i < m->ids.size; i++) {
        if ((size_t)m->ids.data[i] < m->n_vocab) continue;
        return nb_fail(err, NB_ARGUMENT, "token %zu has id %" PRId32 ", but the vocabulary has %zu", i, m->ids.data[i],
                       m->n_vocab);
    }
    return NB_OK;
}

static void cut_windows(measure *m) {
    size_t n = m->ids.size, seen = 0;
    for (size_t begin = 0; seen < n; begin += m->stride) {
        size_t end = begin + nb_min_size(n - begin, m->ctx);
        window w = {.begin = begin, .from = nb_max_size(seen, begin + 1), .end = end};
        seen = w.end;
        if (w.from >= w.end) continue;
        m->n_scored += w.end - w.from;
        m->windows[m->n_windows++] = w;
    }
}

/* Bytes of the scored tokens: the text's, without those of the tokens that nothing predicts. What a tokenizer replaces
 * (a character that it lacks, another normal form) still counts as the text has it. */
static double scored_bytes(const measure *m, size_t text_bytes) {
    const nb_tokenizer *t = nb_model_tokenizer(m->e.model);
    if (!t) return 0;
    double scored = 0, all = 0;
    size_t w = 0;
    for (size_t i = 0; i < m->ids.size; i++) {
        size_t bytes;
        (void)nb_token_bytes(t, m->ids.data[i], &bytes);
        while (w < m->n_windows && i >= m->windows[w].end) w++;
        all += (double)bytes;
        scored += w < m->n_windows && i >= m->windows[w].from ? (double)bytes : 0;
    }
    return m->o->tokens_file ? scored : (double)text_bytes - (all - scored);
}

static nb_status prepare_text(measure *m, nb_error *err) {
    size_t text_bytes = 0;
    nb_status st = read_tokens(m, &text_bytes, err);
    if (!st) st = check_tokens(m, err);
    if (st) return st;
    size_t n = m->ids.size, most = n / m->stride + 1, bytes = n * sizeof(double);
    m->windows = nb_calloc(most, sizeof *m->windows);
    m->scores.ce = nb_alloc(bytes);
    if (!m->windows || !m->scores.ce) return nb_oom(err, "cross-entropies", bytes + most * sizeof *m->windows);
    cut_windows(m);
    m->scores.bytes = scored_bytes(m, text_bytes);
    return NB_OK;
}

/* ---- models */

/* Windows that fit a chunk together are read side by side. */
static nb_status open_batch(nb_batch **batch, measure *m, const engine *e, bool reference, nb_error *err) {
    size_t longest = nb_max_size(2, nb_min_size(m->ctx, m->ids.size));
    nb_session_options how = session_options(e, m->o, longest);
    how.n_logits = LOGIT_ROWS;
    if (reference) how.kv = (nb_kv_types){NB_KV_F32, NB_KV_F32};
    m->n_rows = nb_max_size(1, nb_min_size(m->o->chunk / longest, m->n_windows));
    return nb_batch_create(batch, e->model, (uint32_t)m->n_rows, &how, err);
}

static nb_status open_reference_model(measure *m, nb_error *err) {
    m->reference.team = m->e.team;
    nb_status st = engine_open(&m->reference, m->o, m->o->reference, err);
    if (st) return st;
    size_t n_vocab = nb_model_hparams(m->reference.model)->vocab_size;
    if (n_vocab != m->n_vocab) {
        return nb_fail(err, NB_ARGUMENT,
                       "'%s' has a vocabulary of %zu tokens and '%s' one of %zu: they cannot be compared",
                       m->o->args[0], m->n_vocab, m->o->reference, n_vocab);
    }
    m->scores.reference_identity = nb_model_identity(m->reference.model);
    return open_batch(&m->reference_batch, m, &m->reference, true, err);
}

static nb_status open_saved(measure *m, const reference_key *key, nb_error *err) {
    size_t members = (size_t)nb_team_size(m->e.team);
    nb_status st = reference_open(&m->saved, m->o->reference, err);
    if (!st) st = reference_match(&m->saved, key, m->n_scored, err);
    if (st) return st;
    m->scores.reference_identity = m->saved.key.identity;
    m->rooms = nb_calloc(members, sizeof *m->rooms);
    m->rest = nb_calloc(m->n_scored, sizeof *m->rest);
    if (!m->rooms || !m->rest) return nb_oom(err, "the reference", m->n_scored * sizeof *m->rest);
    for (size_t i = 0; i < members && !st; i++) st = reference_room_take(&m->rooms[i], &m->saved, err);
    return st;
}

static nb_status open_reference(measure *m, const reference_key *key, nb_error *err) {
    size_t n = m->ids.size;
    m->scores.compared = true;
    m->scores.kl = nb_alloc(n * sizeof *m->scores.kl);
    m->scores.reference_ce = nb_alloc(n * sizeof *m->scores.reference_ce);
    m->agree = nb_calloc(n, sizeof *m->agree);
    if (!m->scores.kl || !m->scores.reference_ce || !m->agree)
        return nb_oom(err, "the reference's scores", 2 * n * sizeof *m->scores.kl);
    if (!reference_recognise(m->o->reference)) return open_reference_model(m, err);
    return open_saved(m, key, err);
}

static nb_status prepare(measure *m, nb_error *err) {
    const options *o = m->o;
    nb_status st = engine_open(&m->e, o, o->args[0], err);
    if (st) return st;
    const nb_hparams *h = nb_model_hparams(m->e.model);
    m->n_vocab = h->vocab_size;
    m->ctx = o->ctx ? o->ctx : h->n_ctx;
    m->stride = o->stride ? o->stride : m->ctx;
    if (m->stride > m->ctx)
        return nb_fail(err, NB_ARGUMENT, "--stride %zu is larger than the window of %zu: tokens would be left out",
                       m->stride, m->ctx);
    if (m->ctx < 2) return nb_fail(err, NB_ARGUMENT, "the model's context of one token predicts nothing");
    st = prepare_text(m, err);
    if (!st) st = open_batch(&m->batch, m, &m->e, false, err);
    if (st) return st;
    const reference_key key = {.identity = nb_model_identity(m->e.model),
                               .tokens_hash = reference_tokens_hash(m->ids.data, m->ids.size),
                               .n_tokens = m->ids.size,
                               .ctx = m->ctx,
                               .stride = m->stride,
                               .n_vocab = h->vocab_size};
    if (o->reference) st = open_reference(m, &key, err);
    if (!st && o->save_reference)
        st = reference_create(&m->writer, o->save_reference, &key, (uint32_t)o->reference_top, LOGIT_ROWS,
                              nb_team_size(m->e.team), nb_model_kernels(m->e.model), err);
    return st;
}

static nb_status run_measure(measure *m, nb_error *err) {
    nb_status st = prepare(m, err);
    if (!st) st = score_all(m, err);
    if (!st && m->writer.k) st = reference_commit(&m->writer, err);
    if (st || !m->scores.compared) return st;
    for (size_t i = 0; i < m->scores.n; i++) m->scores.n_agree += m->agree[i];
    if (m->rest) m->scores.rest = nb_mean_of(m->rest, m->scores.n).mean;
    return NB_OK;
}

static void measure_close(measure *m) {
    for (int i = 0; m->rooms && i < nb_team_size(m->e.team); i++) reference_room_free(&m->rooms[i]);
    nb_free(m->rooms);
    reference_close(&m->saved);
    reference_abandon(&m->writer);
    nb_batch_free(m->reference_batch);
    nb_batch_free(m->batch);
    m->reference.team = NULL; /* shared: freed with the other engine */
    engine_close(&m->reference);
    engine_close(&m->e);
    nb_free(m->windows);
    nb_free(m->scores.ce);
    nb_free(m->scores.reference_ce);
    nb_free(m->scores.kl);
    nb_free(m->agree);
    nb_free(m->rest);
    nb_ids_free(&m->ids);
}

int cmd_perplexity(const options *o) {
    if (!o->text_file == !o->tokens_file) return usage_error("perplexity: give either --text or --tokens-file");
    if (o->ctx == 1) return usage_error("perplexity: --ctx must be at least 2: a window of one token predicts nothing");
    if (o->ctx && o->stride > o->ctx)
        return usage_error("perplexity: --stride must not be larger than --ctx: tokens would be left out");
    nb_error err = {0};
    measure m = {.o = o};
    nb_status st = run_measure(&m, &err);
    int code = st ? fail(&err) : perplexity_report(&m.scores, o->json);
    measure_close(&m);
    return code;
}
