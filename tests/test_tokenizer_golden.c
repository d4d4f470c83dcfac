/* Every form of tokenizer against the library that defines it: 2889 strings, from tests/tokenizers, which
 * tests/reference/make_tokenizers.py made and describes. A row of the table is a tokenizer. */
#include "tests/support/unit.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "convert/tok.h"
#include "core/tokenizer.h"
#include "core/utf8.h"
#include "format/reader.h"
#include "format/writer.h"
#include "tests/support/tokenizer_data.h"

/* `exact`: bytes that are not UTF-8 come back, also where the library whose strings are compared gives U+FFFD;
 * `without`: strings with this text are left out. */
static const struct {
    const char *folder, *files[2], *golden;
    bool exact;
    const char *without;
} rows[] = {
    {"hf_gpt2", {"tokenizer.json"}, "hf_gpt2", true, NULL},
    {"hf_llama3", {"tokenizer.json"}, "hf_llama3", true, NULL},
    {"hf_qwen", {"tokenizer.json"}, "hf_qwen", false, NULL},
    {"hf_falcon", {"tokenizer.json"}, "hf_falcon", true, NULL},
    {"hf_splits", {"tokenizer.json"}, "hf_splits", false, NULL},
    {"hf_prefix", {"tokenizer.json"}, "hf_prefix", false, NULL},
    {"hf_words", {"tokenizer.json"}, "hf_words", false, NULL},
    {"hf_deepseek", {"tokenizer.json"}, "hf_deepseek", true, NULL},
    {"hf_llama2", {"tokenizer.json"}, "hf_llama2", true, NULL},
    {"hf_metaspace", {"tokenizer.json"}, "hf_metaspace", false, NULL},
    {"hf_precompiled", {"tokenizer.json"}, "hf_precompiled", false, NULL},
    {"hf_unigram", {"tokenizer.json"}, "hf_unigram", false, NULL},
    {"gpt2", {"vocab.json", "merges.txt"}, "hf_gpt2", true, NULL},
    {"gguf_gpt2", {"gguf.json"}, "hf_gpt2", true, NULL},
    {"gguf_llama", {"gguf.json"}, "sp_bpe", true, NULL},
    {"llama2c", {"tokenizer.bin"}, "sp_bpe", true, "\xe2\x96\x81"}, /* to SentencePiece this is a space */
    {"sp_bpe", {"tokenizer.model"}, "sp_bpe", false, NULL},
    {"sp_bpe_user", {"tokenizer.model"}, "sp_bpe_user", false, NULL},
    {"sp_bpe_nfkc", {"tokenizer.model"}, "sp_bpe_nfkc", false, NULL},
    {"sp_unigram", {"tokenizer.model"}, "sp_unigram", false, NULL},
    {"sp_user", {"tokenizer.model"}, "sp_user", false, NULL},
    {"sp_unigram_bytes", {"tokenizer.model"}, "sp_unigram_bytes", false, NULL},
    {"tiktoken_cl100k", {"tokenizer.pkl"}, "tiktoken_cl100k", true, NULL},
    {"tiktoken_o200k", {"tokenizer.pkl"}, "tiktoken_o200k", true, NULL},
};

static char *scratch;

static int setup(void **state) {
    (void)state;
    scratch = unit_scratch_new();
    return 0;
}
static int teardown(void **state) {
    (void)state;
    unit_scratch_free(scratch);
    return 0;
}

/* The row's files in the scratch folder; the path of the first. */
static const char *unpack_files(size_t row, char path[UNIT_PATH]) {
    char name[UNIT_PATH];
    for (size_t i = 2; i-- > 0;) {
        if (!rows[row].files[i]) continue;
        nb_buf data = {0};
        snprintf(name, sizeof name, "%s/%s.zst", rows[row].folder, rows[row].files[i]);
        tokenizer_data(name, &data);
        unit_write_file(unit_path(path, scratch, rows[row].files[i]), data.data, data.size);
        nb_buf_free(&data);
    }
    return path;
}

static void load_vocab(size_t row, nb_vocab *v) {
    char path[UNIT_PATH];
    nb_error err = {0};
    nb_arena arena = {.limit = 1 << 28};
    const nb_value *meta = NULL;
    bool found = false;
    unpack_files(row, path);
    bool gguf = strstr(path, "gguf") != NULL;
    if (gguf && nb_value_from_json_file(path, &arena, &meta, &err)) fail_msg("%s", err.text);
    const nb_tok_input in = {.checkpoint = path,
                             .given = gguf ? NULL : path,
                             .arch = nb_archs[0],
                             .meta = meta,
                             .vocab_size = NB_MAX_VOCAB};
    nb_buf chat_template = {0};
    if (nb_tok_load(v, &found, &chat_template, &in, &err)) fail_msg("%s: %s", rows[row].folder, err.text);
    nb_buf_free(&chat_template);
    assert_true(found);
    nb_arena_free(&arena);
}

/* A file that holds nothing but the vocabulary. */
static void write_vocab(const char *path, const nb_vocab *v) {
    nb_vocab_tensor tensors[NB_VOCAB_TENSORS];
    nb_writer *w = NULL;
    nb_error err = {0};
    uint64_t identity, size;
    json_t *object = nb_vocab_to_json(v);
    char *text = json_dumps(object, JSON_COMPACT);
    nb_status st = nb_vocab_tensors(v, tensors, &err);
    if (!st) st = nb_writer_create(&w, path, &(nb_writer_options){.overwrite = true}, &err);
    for (size_t i = 0; !st && i < NB_VOCAB_TENSORS; i++) {
        nb_tensor t = {.name = tensors[i].name, .type = tensors[i].type, .n_dims = 1, .dims = {tensors[i].count}};
        if (!tensors[i].count) continue;
        st = nb_writer_tensor_begin(w, &t, &err);
        if (!st) st = nb_writer_tensor_append(w, tensors[i].bytes.data, tensors[i].bytes.size, &err);
        if (!st) st = nb_writer_tensor_end(w, &err);
    }
    if (!st) st = nb_writer_commit(w, text, "{}", &identity, &size, &err);
    if (st) fail_msg("%s", err.text);
    nb_writer_close(w);
    nb_vocab_tensors_free(tensors);
    json_decref(object);
    free(text);
}

/* What the engine has to do with: the vocabulary as it comes back from a file. */
static nb_tokenizer *load_tokenizer(size_t row) {
    char path[UNIT_PATH];
    nb_vocab v;
    nb_tokenizer *t = NULL;
    nb_reader *reader = NULL;
    nb_error err = {0};
    json_t *object = NULL;
    size_t size;
    load_vocab(row, &v);
    write_vocab(unit_path(path, scratch, "vocab.nbl"), &v);
    nb_vocab_free(&v);
    nb_status st = nb_reader_open(&reader, path, NULL, &err);
    if (!st) object = json_loads(nb_reader_model_json(reader, &size), 0, NULL);
    if (!st) st = nb_vocab_load(&v, object, reader, &err);
    if (!st) st = nb_tokenizer_create(&t, &v, &err);
    if (st) fail_msg("%s: %s", rows[row].folder, err.text);
    json_decref(object);
    nb_reader_close(reader);
    return t;
}

/* One string and what the library made of it, at the cursors. */
static void print_ids(const char *what, const int32_t *ids, size_t n) {
    printf("%s:", what);
    for (size_t i = 0; i < n && i < 40; i++) printf(" %d", (int)ids[i]);
    printf("\n");
}

/* Whether the ids at the golden cursor are those; it moves behind them. With `told`, both are printed when not. */
static bool same_ids(nb_cursor *golden, const nb_ids *ids, uint32_t n, bool told) {
    int32_t expected[64];
    bool same = ids->size == n;
    for (uint32_t i = 0; i < n; i++) {
        int32_t id = nb_take_u16(golden);
        if (i < 64) expected[i] = id;
        same &= i < ids->size && ids->data[i] == id;
    }
    if (same || !told) return same;
    print_ids("expected", expected, n < 64 ? n : 64);
    print_ids("found", ids->data, ids->size);
    return false;
}

typedef struct example {
    const uint8_t *text;
    uint32_t n;
} example;

static example next_example(nb_cursor *strings) {
    uint32_t n = nb_take_u32(strings);
    return (example){nb_take(strings, n), n};
}

static void encode(const nb_tokenizer *t, example e, unsigned flags, nb_ids *ids) {
    nb_error err = {0};
    ids->size = 0;
    if (nb_tokenize_as(t, (const char *)e.text, e.n, flags, ids, &err)) fail_msg("%s", err.text);
}

static bool decodes(const nb_tokenizer *t, const nb_ids *ids, const uint8_t *text, uint32_t n, bool told) {
    nb_buf back = {0};
    nb_detokenize(t, ids->data, ids->size, false, true, &back);
    bool same = !back.failed && back.size == n && (!n || !memcmp(back.data, text, n));
    if (!same && told) printf("decoded: '%s'\n", nb_buf_str(&back));
    nb_buf_free(&back);
    return same;
}

/* One string: its ids and how they decode, where the library takes such a string; else whether it comes back at all. */
static bool check_string(const nb_tokenizer *t, size_t row, nb_cursor *golden, example e, nb_ids *ids) {
    uint32_t count = nb_take_u32(golden);
    bool known = count != UINT32_MAX, exact = rows[row].exact;
    bool left_out = rows[row].without && memmem(e.text, e.n, rows[row].without, strlen(rows[row].without));
    bool other = exact && known && nb_utf8_valid_prefix(e.text, e.n) < e.n; /* the library gives U+FFFD */
    bool told = !left_out && !other;
    encode(t, e, 0, ids);
    bool good = !known || same_ids(golden, ids, count, told);
    uint8_t how = known ? nb_take_u8(golden) : exact ? 0 : 2;
    uint32_t n = how == 1 ? nb_take_u32(golden) : e.n;
    const uint8_t *text = how == 1 ? nb_take(golden, n) : e.text;
    good &= how == 2 || decodes(t, ids, text, n, told);
    return other ? decodes(t, ids, e.text, e.n, true) : good || left_out;
}

static unsigned check_row(size_t row, const nb_buf *data) {
    char name[UNIT_PATH];
    nb_buf file = {0};
    nb_ids ids = {0};
    unsigned wrong = 0;
    nb_tokenizer *t = load_tokenizer(row);
    snprintf(name, sizeof name, "%s/golden.zst", rows[row].golden);
    tokenizer_data(name, &file);
    nb_cursor strings = nb_cursor_over(data->data, data->size), golden = nb_cursor_over(file.data, file.size);
    uint32_t n = nb_take_u32(&strings), n_special = nb_take_u32(&strings);
    nb_cursor specials = strings;
    for (uint32_t i = 0; i < n; i++) {
        example e = next_example(&strings);
        if (i + n_special < n) specials = strings;
        bool good = check_string(t, row, &golden, e, &ids);
        wrong += !good;
        if (!good)
            printf("%s: string %u: '%.*s'\n", rows[row].folder, (unsigned)i, e.n < 80 ? (int)e.n : 80,
                   (const char *)e.text);
    }
    bool full = nb_take_u8(&golden);
    for (uint32_t i = 0; i < n_special && full; i++) {
        example e = next_example(&specials);
        uint32_t count = nb_take_u32(&golden);
        encode(t, e, NB_TOKENIZE_CONTROL | NB_TOKENIZE_ENDS, &ids);
        if (same_ids(&golden, &ids, count, true)) continue;
        wrong++;
        printf("%s: special string %u: '%.*s'\n", rows[row].folder, (unsigned)i, (int)e.n, (const char *)e.text);
    }
    assert_false(strings.bad || golden.bad || golden.pos != golden.size);
    nb_ids_free(&ids);
    nb_buf_free(&file);
    nb_tokenizer_free(t);
    return wrong;
}

static void every_string_is_the_librarys(void **state) {
    (void)state;
    nb_buf strings = {0};
    unsigned wrong = 0;
    tokenizer_data("strings.zst", &strings);
    assert_true(nb_get_u32(strings.data) - nb_get_u32(strings.data + 4) >= 2000);
    for (size_t row = 0; row < COUNT_OF(rows); row++) {
        unsigned bad = check_row(row, &strings);
        if (bad) print_message("%s: %u strings differ\n", rows[row].folder, bad);
        wrong += bad;
    }
    nb_buf_free(&strings);
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_string_is_the_librarys),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
