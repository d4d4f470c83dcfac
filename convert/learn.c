#include "convert/learn.h"

#include <pthread.h>
#include <string.h>
#include "base/checked.h"
#include "base/mem.h"
#include "convert/values.h"
#include "quant/codebook.h"

typedef struct class {
    const nb_learning *how;
    const nb_plan_tensor *tensors;
    size_t n;
    int8_t (*codebooks)[NB_CODEBOOK_SIZE];
    pthread_mutex_t reading; /* guards what follows, and the source but for what is fetched */
    size_t next;
    nb_status status; /* of the first matrix that failed */
    size_t failed;
    nb_error *err;
} class;

/* Rows [row, row + n) as the source has them, if they are bf16, else as f32, one member at a time. */
static nb_status read_rows(class *c, const nb_plan_tensor *t, bool bf16, uint64_t row, size_t n, void *dst,
                           nb_error *err) {
    if (bf16) return nb_plan_fetch(t, c->how->source, row, n, dst, err);
    pthread_mutex_lock(&c->reading);
    nb_status st = nb_rotation_read(c->how->rotation, t, c->how->source, row, n, dst, err);
    pthread_mutex_unlock(&c->reading);
    return st;
}

/* Add the panel that begins at `row`; `room` is for its rows. */
static nb_status add_panel(class *c, const nb_plan_tensor *t, uint64_t row, float *room, nb_codebook_sample *sample,
                           nb_error *err) {
    size_t n = nb_min_size((size_t)(t->spec.rows - row), NB_PANEL_ROWS), cols = (size_t)t->spec.cols;
    bool bf16 = !c->how->rotation->set && nb_plan_fetches(t, c->how->source) &&
                t->parts[0].tensor->dtype == NB_DTYPE_BF16;
    nb_rows rows = {room, n, cols, cols, bf16 ? NB_TYPE_BF16 : NB_TYPE_F32};
    nb_status st = read_rows(c, t, bf16, row, n, room, err);
    if (st || nb_sample_add(sample, c->how->search, &rows, NULL)) return st;
    st = bf16 ? read_rows(c, t, false, row, n, room, err) : NB_OK; /* to say where */
    return st ? st : nb_check_values(t, t->type, room, n * cols, row * cols, err);
}

static nb_status learn(class *c, const nb_plan_tensor *t, int8_t codebook[NB_CODEBOOK_SIZE], nb_error *err) {
    nb_codebook_sample sample;
    size_t n_panels = nb_div_up((size_t)t->spec.rows, NB_PANEL_ROWS), cols = (size_t)t->spec.cols, p;
    float *memory = nb_alloc(NB_SAMPLE_FLOATS * sizeof *memory), *room = nb_alloc(NB_PANEL_ROWS * cols * sizeof *room);
    nb_status st = memory && room ? NB_OK : nb_oom(err, "a sample of weights", NB_PANEL_ROWS * cols * sizeof *room);
    if (!st) nb_sample_init(&sample, memory);
    for (size_t i = 0; !st && (p = nb_sample_panel(n_panels, i)) < n_panels; i++)
        st = add_panel(c, t, (uint64_t)p * NB_PANEL_ROWS, room, &sample, err);
    if (!st) nb_codebook_learn(c->how->search, &sample, codebook);
    nb_free(memory);
    nb_free(room);
    return st;
}

/* The next matrix that has a codebook; false: there is none. */
static bool take(class *c, size_t *i) {
    pthread_mutex_lock(&c->reading);
    while (c->next < c->n && c->tensors[c->next].type != NB_TYPE_Q4) c->next++;
    bool any = c->next < c->n && !c->status;
    *i = any ? c->next++ : c->n;
    pthread_mutex_unlock(&c->reading);
    return any;
}

/* Which failure is told does not depend on who was first: all that precede one were taken before it. */
static void fail(class *c, size_t i, nb_status status, const nb_error *err) {
    pthread_mutex_lock(&c->reading);
    if (!c->status || i < c->failed) {
        c->status = status;
        c->failed = i;
        *c->err = *err;
    }
    pthread_mutex_unlock(&c->reading);
}

static void attend(void *arg, int member) {
    class *c = arg;
    size_t i;
    nb_error err = {0};
    (void)member;
    while (take(c, &i)) {
        nb_status st = learn(c, &c->tensors[i], c->codebooks[i], &err);
        if (st) fail(c, i, st, &err);
    }
}

nb_status nb_learn_codebooks(const nb_learning *l, const nb_plan_tensor *tensors, size_t n,
                             int8_t (*codebooks)[NB_CODEBOOK_SIZE], nb_error *err) {
    class c = {.how = l, .tensors = tensors, .n = n, .codebooks = codebooks, .err = err};
    memset(codebooks, 0, n * sizeof *codebooks);
    pthread_mutex_init(&c.reading, NULL);
    nb_team_run(l->team, attend, &c);
    pthread_mutex_destroy(&c.reading);
    return c.status;
}
