#include <string.h>
#include "base/mem.h"
#include "format/reader_impl.h"

enum { UNDAMAGED = 0 }; /* else 1 + the first bad chunk of the tensor */

static void note_bad(void *user, size_t load, uint32_t chunk) {
    uint32_t *first = (uint32_t *)user + load;
    if (*first == UNDAMAGED || chunk + 1 < *first) *first = chunk + 1;
}

/* Tell of each damaged tensor in file order; the sentences are made by looking at the bad chunks again. */
static nb_status report(const nb_pass *pass, const uint32_t *first_bad,
                        void (*damaged)(void *user, const nb_tensor *t, const char *sentence), void *user,
                        nb_error *err) {
    const char *first_name = NULL;
    size_t n_damaged = 0;
    nb_error sentence;
    for (size_t i = 0; i < pass->n; i++) {
        if (first_bad[i] == UNDAMAGED) continue;
        const nb_tensor *t = pass->loads[i].tensor;
        nb_status st = nb_pass_explain(pass, i, first_bad[i] - 1, &sentence);
        if (st == NB_MEMORY) return nb_fail(err, st, "%s", sentence.text);
        if (n_damaged++ == 0) first_name = t->name;
        if (damaged) damaged(user, t, sentence.text);
    }
    if (n_damaged == 0) return NB_OK;
    return nb_fail(err, NB_CHECKSUM, "'%s': %zu of %zu tensors %s damaged, the first of them '%s'", pass->reader->path,
                   n_damaged, pass->n, n_damaged == 1 ? "is" : "are", first_name);
}

nb_status nb_reader_verify(const nb_reader *r, nb_team *team, const nb_progress *progress,
                           void (*damaged)(void *user, const nb_tensor *t, const char *sentence), void *user,
                           nb_error *err) {
    size_t n = r->n_tensors;
    if (n == 0) return NB_OK;
    nb_load *loads = nb_calloc(n, sizeof *loads);
    uint32_t *first_bad = nb_calloc(n, sizeof *first_bad);
    nb_status st = NB_OK;
    if (!loads || !first_bad) {
        st = nb_oom(err, "the list of tensors to verify", n * (sizeof *loads + sizeof *first_bad));
        goto out;
    }
    for (size_t i = 0; i < n; i++) loads[i].tensor = &r->tensors[r->file_order[i]];
    nb_pass pass = {.reader = r, .team = team, .progress = progress, .what = "verifying", .loads = loads, .n = n,
                    .gaps = true, .keep_going = true, .bad = note_bad, .user = first_bad};
    st = nb_pass_run(&pass, err);
    if (!st) st = report(&pass, first_bad, damaged, user, err);
out:
    nb_free(loads);
    nb_free(first_bad);
    return st;
}
