/* Published vocabularies in GGUF files, with texts and the ids that llama.cpp gives them: when they are on this
 * machine, in the folder "vocab" beside the checkpoints made by others (NIBBLE_REFERENCE in the environment, or
 * ../shared/reference beside the sources). NAME.gguf.inp has the texts, with a line between two, NAME.gguf.out a line
 * of ids for each. */
#include "tests/support/unit.h"

#include "base/buf.h"
#include "base/file.h"
#include "convert/source.h"
#include "convert/tok.h"
#include "core/tokenizer.h"

static const char *const names[] = {"ggml-vocab-gpt-2", "ggml-vocab-falcon", "ggml-vocab-deepseek-llm",
                                    "ggml-vocab-llama-spm", "ggml-vocab-phi-3"};
static const char between[] = "\n__ggml_vocab_test__\n";

static const char *folder(void) {
    static char path[UNIT_PATH];
    const char *given = getenv("NIBBLE_REFERENCE"); // NOLINT(concurrency-mt-unsafe): one thread
    if (!given) given = NIBBLE_TEST_DATA "/../../shared/reference";
    snprintf(path, sizeof path, "%s/../vocab", given);
    return nb_is_directory(path) ? path : NULL;
}

static nb_tokenizer *load(const char *path) {
    nb_source *source = NULL;
    nb_vocab v;
    nb_tokenizer *t = NULL;
    nb_error err = {0};
    nb_buf chat_template = {0};
    bool found = false;
    if (nb_source_gguf_open(&source, path, &err)) fail_msg("%s", err.text);
    const nb_tok_input in = {.checkpoint = path,
                             .arch = nb_archs[0],
                             .meta = nb_value_get(source->meta, "gguf"),
                             .vocab_size = NB_MAX_VOCAB};
    if (nb_tok_load(&v, &found, &chat_template, &in, &err)) fail_msg("%s", err.text);
    assert_true(found);
    if (nb_tokenizer_create(&t, &v, &err)) fail_msg("%s: %s", path, err.text);
    nb_buf_free(&chat_template);
    nb_source_close(source);
    return t;
}

static void read_text(const char *path, const char *ending, nb_buf *out) {
    char name[UNIT_PATH];
    nb_error err = {0};
    assert_in_range(snprintf(name, sizeof name, "%s%s", path, ending), 1, UNIT_PATH - 1);
    if (nb_read_file(name, 1 << 20, out, &err)) fail_msg("%s", err.text);
}

/* A text against the line of ids at *line, which moves on; and back. */
static void check_text(const nb_tokenizer *t, const char *name, const char *text, size_t n, const char **line) {
    nb_ids ids = {0};
    nb_error err = {0};
    nb_buf back = {0};
    if (nb_tokenize(t, text, n, &ids, &err)) fail_msg("%s: %s", name, err.text);
    size_t i = 0, end = strcspn(*line, "\n");
    const char *stop = *line + end;
    for (const char *p = *line; p < stop; i++) {
        char *after;
        long id = strtol(p, &after, 10);
        if (after == p) break;
        if (i >= ids.size || ids.data[i] != id) fail_msg("%s: '%.*s': id %zu, expected %ld", name, (int)n, text, i, id);
        p = after;
    }
    assert_int_equal(i, ids.size);
    nb_detokenize(t, ids.data, ids.size, false, true, &back);
    assert_int_equal(back.size, n);
    if (n) assert_memory_equal(back.data, text, n);
    nb_buf_free(&back);
    nb_ids_free(&ids);
    *line = stop + (*stop == '\n');
}

static void every_text_has_its_ids(void **state) {
    (void)state;
    if (!folder()) skip();
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[UNIT_PATH], name[UNIT_PATH];
        nb_buf texts = {0}, lines = {0};
        snprintf(name, sizeof name, "%s.gguf", names[i]);
        unit_path(path, folder(), name);
        nb_tokenizer *t = load(path);
        read_text(path, ".inp", &texts);
        read_text(path, ".out", &lines);
        const char *line = nb_buf_str(&lines);
        size_t count = 0;
        for (const char *text = nb_buf_str(&texts); text; count++) {
            const char *end = strstr(text, between);
            check_text(t, names[i], text, end ? (size_t)(end - text) : strlen(text), &line);
            text = end ? end + sizeof between - 1 : NULL;
        }
        print_message("%s: %zu texts\n", names[i], count);
        assert_true(count > 40 && !*line);
        nb_buf_free(&texts);
        nb_buf_free(&lines);
        nb_tokenizer_free(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_text_has_its_ids)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
