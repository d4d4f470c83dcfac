#include "api/api.h"
#include "base/mem.h"

struct nibble_tool_result {
    nb_buf *out;
};

/* Memory that runs out shows in the buffer. */
void nibble_tool_result_add(nibble_tool_result *result, const char *text, size_t n) {
    if (n) nb_buf_append(result->out, text, n);
}

static bool call(void *user, const char *text, size_t n, nb_buf *out) {
    const nibble_tool *t = user;
    nibble_tool_result result = {.out = out};
    return t->call(t->user, text, n, &result) == 0;
}

static bool complete(const nibble_tool *t) {
    const char *const texts[] = {t->name, t->call_start, t->call_end, t->output_start, t->output_end};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!texts[i] || !texts[i][0]) return false;
    return t->call != NULL;
}

static nb_tool row_of(const nibble_tool *t) {
    return (nb_tool){.name = t->name,
                     .call_start = t->call_start,
                     .call_end = t->call_end,
                     .output_start = t->output_start,
                     .output_end = t->output_end,
                     .call = call,
                     .user = (void *)(uintptr_t)t}; /* which `call` only reads */
}

/* The i-th tool can be called, and told apart from those before it. */
static nb_status check(const nibble_tool *tools, size_t i, const nb_tool *row, const nb_vocab *v, nb_error *err) {
    const nibble_tool *t = &tools[i];
    if (!complete(t))
        return nb_fail(err, NB_ARGUMENT, "tool %zu lacks its name, a control token's text or its function", i + 1);
    const char *lacks = nb_tool_lacks(row, v);
    if (lacks)
        return nb_fail(err, NB_MISSING, "the tool '%s' needs the control token '%s', which the vocabulary lacks",
                       t->name, lacks);
    for (size_t k = 0; k < i; k++)
        if (!strcmp(tools[k].name, t->name) || !strcmp(tools[k].call_start, t->call_start))
            return nb_fail(err, NB_ARGUMENT, "tools %zu and %zu, '%s' and '%s', have the same name or call_start",
                           k + 1, i + 1, tools[k].name, t->name);
    return NB_OK;
}

nb_status api_tools(const nibble_model *model, const nibble_tool *given, size_t n, nb_tool **tools, nb_error *err) {
    *tools = NULL;
    if (!n) return NB_OK;
    const nb_tokenizer *t = api_tokenizer(model, err);
    if (!t) return NB_MISSING;
    nb_tool *rows = nb_calloc(n, sizeof *rows);
    if (!rows) return nb_oom(err, "tools", n * sizeof *rows);
    nb_status st = need(given, n, "tools", err);
    for (size_t i = 0; !st && i < n; i++) {
        rows[i] = row_of(&given[i]);
        st = check(given, i, &rows[i], nb_tokenizer_vocab(t), err);
    }
    if (st) nb_free(rows);
    else *tools = rows;
    return st;
}
