/* Tokenizers in a whole conversion: which file is found, what the files beside it say, chat templates; and forms whose
 * files are too large to keep. */
#include "tests/support/conversion.h"

#include <jansson.h>
#include "base/mem.h"
#include "convert/tok.h"
#include "convert/tok_regex.h"
#include "core/model.h"
#include "core/tokenizer.h"

static const char chatml[] = "{\"eos_token\": {\"content\": \"<sep>\"}, \"chat_template\": \"{% for m in messages %}<|im_start|>{{ m.role }}\\n"
                             "{{ m.content }}<|im_end|>\\n{% endfor %}<|im_start|>assistant\\n\"}";
static const char named[] = "{\"chat_template\": [{\"name\": \"rag\", \"template\": \"?\"}, {\"name\": \"default\", \"template\": "
                            "\"<start_of_turn>model<end_of_turn>\"}]}";
static const char qwen[] = "{\"chat_template\": \"{% if no_system %}{{ '<|im_start|>system\\nBe good.<|im_end|>\\n' }}{% endif %}"
                           "<|im_start|>assistant\"}";
static const char unknown[] = "{\"chat_template\": \"### {{ messages[0].content }}\"}";

/* The "chat" object of the converted file as text; the caller frees it. */
static char *chat_of(fixture *f, const char *config, const char *asked) {
    nb_convert_options o = options_for(f, NB_TYPE_Q8);
    const nb_setting heads = {"n_head", "2"};
    nb_convert_report report;
    size_t size;
    o.settings = &heads;
    o.n_settings = 1;
    o.chat_style = asked;
    write_text(f, "tokenizer_config.json", config);
    convert_ok(f, &o, &report);
    nb_reader *r = open_target(f);
    json_t *model = json_loads(nb_reader_model_json(r, &size), 0, NULL);
    char *text = json_dumps(json_object_get(model, "chat"), JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(model);
    nb_reader_close(r);
    return text;
}

static void chat_templates(void **state) {
    fixture *f = *state;
    static const struct {
        const char *config, *asked, *chat;
        bool warned;
    } cases[] = {
        {"{}", NULL, "{\"style\":\"minigpt\"}", false},
        {"{}", "zephyr", "{\"style\":\"zephyr\"}", false},
        {chatml, NULL, "{\"style\":\"chatml\"}", false},
        {chatml, "plain", "{\"style\":\"plain\"}", false},
        {qwen, NULL, "{\"style\":\"chatml\",\"system\":\"Be good.\"}", false},
        {qwen, "plain", "{\"style\":\"plain\"}", false},
        {named, NULL, "{\"style\":\"gemma\"}", false},
        {unknown, NULL, "{\"style\":\"minigpt\",\"template\":\"### {{ messages[0].content }}\"}", true},
        {unknown, "llama-3", "{\"style\":\"llama-3\",\"template\":\"### {{ messages[0].content }}\"}", false},
    };
    make_minigpt(f);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *chat = chat_of(f, cases[i].config, cases[i].asked);
        assert_string_equal(chat, cases[i].chat);
        assert_int_equal(strstr(nb_buf_str(&f->sentences), "chat template") != NULL, cases[i].warned);
        free(chat);
    }
    nb_error err = {0};
    nb_model *m = NULL;
    free(chat_of(f, qwen, NULL));
    if (nb_model_open(&m, f->target, NULL, &err)) fail_msg("%s", err.text);
    assert_string_equal(nb_model_chat_system(m, "chatml"), "Be good.");
    assert_null(nb_model_chat_system(m, "llama-3.1"));
    nb_model_free(m);
    nb_convert_options o = options_for(f, NB_TYPE_Q8);
    o.chat_style = "nope";
    assert_int_equal(nb_convert(f->source, f->target, &o, NULL, &err), NB_ARGUMENT);
    assert_non_null(strstr(err.text, "'nope' is no chat style"));
}

static nb_status load(const fixture *f, const char *name, nb_vocab *v, nb_error *err) {
    char path[UNIT_PATH];
    nb_buf chat_template = {0};
    bool found = false;
    unit_path(path, f->folder, name);
    const nb_tok_input in = {.checkpoint = path, .given = path, .arch = nb_archs[0], .vocab_size = NB_MAX_VOCAB};
    nb_status st = nb_tok_load(v, &found, &chat_template, &in, err);
    nb_buf_free(&chat_template);
    return st;
}

/* A file with as many ranks as a known encoding has: the bytes, pairs of letters, then made-up words. */
static void write_ranks(const fixture *f, uint32_t n) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    nb_buf b = {0};
    char path[UNIT_PATH];
    for (uint32_t i = 0; i < n; i++) {
        /* three bytes are four digits; one byte two and "==" */
        uint32_t bits = i < 256 ? i << 16 : 0x616161 + i * 256u % 0x600000 + i / 24576;
        for (unsigned d = 0; d < 4; d++)
            nb_buf_byte(&b, (uint8_t)(i < 256 && d > 1 ? '=' : digits[bits >> (18 - 6 * d) & 63]));
        nb_buf_printf(&b, " %u\n", (unsigned)i);
    }
    unit_write_file(unit_path(path, f->folder, "ranks.tiktoken"), b.data, b.size);
    nb_buf_free(&b);
}

static void ranks(void **state) {
    const fixture *f = *state;
    static const struct {
        uint32_t n;
        const char *special;
        int32_t id, bos;
        const char *pattern; /* begins so */
    } cases[] = {
        {50256, "<|endoftext|>", 50256, 50256, "'s|'t"},
        {100256, "<|endofprompt|>", 100276, 100257, "'(?i:[sdmt]"},
        {199998, "<|endofprompt|>", 200018, 199999, "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}"},
        {128000, "<|reserved_special_token_246|>", 128255, 128000, "(?i:'s"},
        {151643, "<|im_end|>", 151645, 151643, "(?i:'s"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        nb_vocab v;
        nb_error err = {0};
        write_ranks(f, cases[i].n);
        if (load(f, "ranks.tiktoken", &v, &err)) fail_msg("%s", err.text);
        assert_int_equal(nb_vocab_special(&v, cases[i].special), cases[i].id);
        assert_int_equal(v.bos, cases[i].bos);
        assert_memory_equal(v.split.v[0].pattern, cases[i].pattern, strlen(cases[i].pattern));
        nb_vocab_free(&v);
    }
}

/* Small vocabularies with rare properties: the ids are those of tokenizers 0.23 and sentencepiece 0.2.3. */
#define FUSE "\"decoder\": {\"type\": \"Fuse\"}, "
static const uint8_t user_model[] = /* <unk>, a and b at -2, the user's "ab" at 0; Unigram; nothing is normalized */
    "\x0a\x0e\x0a\x05<unk>\x15\0\0\0\0\x18\x02\x0a\x0a\x0a\x01" "a\x15\0\0\0\xc0\x18\x01\x0a\x0a\x0a\x01" "b\x15\0\0\0\xc0\x18\x01"
    "\x0a\x0b\x0a\x02" "ab\x15\0\0\0\0\x18\x04\x12\x02\x18\x01\x1a\x04\x18\0 ";
#define BPE(vocab) "\"model\": {\"type\": \"BPE\", \"vocab\": {" vocab "}, \"merges\": []}}"
#define REMOVED(regex, vocab) \
    "{" FUSE "\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"" regex "\"}, \"behavior\": \"Removed\"}, " BPE(vocab)
#define FIRST(normalizer) \
    "{" FUSE "\"normalizer\": " normalizer ", \"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": " \
    "\"first\"}, " BPE("\"_\": 0, \"a\": 1, \"b\": 2")
#define META "{\"decoder\": {\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"always\"}, "
static const struct {
    const char *file; /* NULL: user_model */
    const char *text;
    unsigned flags;
    size_t n;
    int32_t ids[4];
} rare[] = {
    /* unknown texts are one within a piece only */
    {"{\"pre_tokenizer\": {\"type\": \"Digits\", \"individual_digits\": true}, " FUSE "\"model\": {\"type\": \"Unigram\", "
     "\"unk_id\": 0, \"vocab\": [[\"<unk>\", 0], [\"a\", -1]]}}", "xy12a", 0, 4, {0, 0, 0, 1}},
    /* bytes where all of an unknown text can be spelled */
    {"{" FUSE "\"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"byte_fallback\": true, "
     "\"vocab\": [[\"<unk>\", 0], [\"a\", -1], [\"<0x78>\", -9]]}}", "xxaxy", 0, 4, {2, 2, 1, 0}},
    /* the last of two equal pieces counts */
    {"{" FUSE "\"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": [[\"<unk>\", 0], [\"a\", -1], [\"a\", -2]]}}", "a", 0, 1, {2}},
    /* a token of that name is not what stands for the unknown when the model does not say so */
    {"{" FUSE "\"added_tokens\": [{\"id\": 0, \"content\": \"<unk>\", \"special\": true}], \"model\": {\"type\": \"BPE\", \"vocab\": {\"<unk>\": 0, \"a\": 1}, \"merges\": []}}", "xa", 0, 1, {1}},
    /* a token that begins in the white space that the one before it takes */
    {"{" FUSE "\"added_tokens\": [{\"id\": 2, \"content\": \"<r>\", \"rstrip\": true}, {\"id\": 3, \"content\": \" b\"}], "
     "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \" \": 1}, \"merges\": []}}", "a<r>   ba", NB_TOKENIZE_CONTROL, 4, {0, 2, 3, 0}},
    /* white space that the one before took is not one more token */
    {"{" FUSE "\"added_tokens\": [{\"id\": 2, \"content\": \"\\n\", \"lstrip\": true, \"rstrip\": true}], " BPE("\"a\": 0, \"b\": 1"),
     "a\n\nb", 0, 3, {0, 2, 1}},
    /* an added token that its flags forbid to find is a character of the model still */
    {"{" FUSE "\"added_tokens\": [{\"id\": 1, \"content\": \"b\", \"single_word\": true}], " BPE("\"a\": 0, \"b\": 1"), "ab", 0, 2, {0, 1}},
    /* Oniguruma's word characters, and complements within classes */
    {REMOVED("\\\\w", "\"\xc2\xb2\": 0, \"!\": 1"), "\xc2\xb2!", 0, 1, {1}},
    {REMOVED("\\\\ba", "\"a\": 0, \"\xcc\x81\": 1"), "\xcc\x81" "a", 0, 2, {1, 0}},
    {REMOVED("\\\\Ba", "\"a\": 0, \"\xcc\x81\": 1"), "\xcc\x81" "a", 0, 1, {1}},
    {REMOVED("[^\\\\W_]", "\"a\": 0, \"\xcc\x81\": 1, \"_\": 2"), "a\xcc\x81_", 0, 1, {2}},
    {REMOVED("[\\\\W_]", "\"a\": 0, \"\xcc\x81\": 1, \"_\": 2, \"!\": 3"), "a\xcc\x81_!", 0, 2, {0, 1}},
    {REMOVED("[^\\\\S\\\\n]", "\"\xe1\xa0\x8e\": 0, \"\\n\": 1"), "\xe1\xa0\x8e\n ", 0, 2, {0, 1}},
    {REMOVED("[\\\\S]", "\"a\": 0, \" \": 1, \"\xe1\xa0\x8e\": 2"), "a \xe1\xa0\x8e", 0, 1, {1}},
    {REMOVED("[^^\\\\S]", "\"^\": 0, \" \": 1, \"a\": 2"), "^ a", 0, 2, {0, 2}},
    {REMOVED("\\\\p{Tamil}", "\"\xe0\xa5\x91\": 0, \"\xe0\xae\x95\": 1"), "\xe0\xa5\x91\xe0\xae\x95", 0, 1, {0}},
    /* the worst score of all counts, that of a control token too */
    {"{" FUSE "\"added_tokens\": [{\"id\": 4, \"content\": \"<c>\", \"special\": true}], \"model\": {\"type\": \"Unigram\", \"unk_id\": 0, "
     "\"vocab\": [[\"<unk>\", 0], [\"bc\", -12], [\"d\", -12], [\"cd\", -0.1], [\"<c>\", -20]]}}", "bcd", 0, 2, {1, 2}},
    /* scores are read as the library reads them, an ulp off: exact ones would end in the single b */
    {"{" FUSE "\"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": [[\"<unk>\", 0], [\"b\", -5.5507008868034164], "
     "[\"bb\", -4.701063811914318]]}}", "bbbbb", 0, 3, {1, 2, 2}},
    /* Metaspace looks at where the first word stood in the given text */
    {FIRST("{\"type\": \"Strip\"}"), " ab", 0, 2, {1, 2}},
    {FIRST("{\"type\": \"Strip\"}"), "ab ", 0, 3, {0, 1, 2}},
    {FIRST("{\"type\": \"Replace\", \"pattern\": {\"String\": \"cc\"}, \"content\": \"a\"}"), "ccb", 0, 2, {1, 2}},
    {FIRST("{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"c\"}, \"content\": \"a\"}"), "cb", 0, 3, {0, 1, 2}},
    {FIRST("{\"type\": \"Replace\", \"pattern\": {\"String\": \"c\"}, \"content\": \"\"}"), "ca", 0, 1, {1}},
    {NULL, "aab", 0, 2, {1, 3}},
};

static void rare_vocabularies(void **state) {
    const fixture *f = *state;
    char path[UNIT_PATH];
    for (size_t i = 0; i < COUNT_OF(rare); i++) {
        nb_vocab v;
        nb_tokenizer *t = NULL;
        nb_ids ids = {0};
        nb_error err = {0};
        if (rare[i].file) write_text(f, "rare", rare[i].file);
        else unit_write_file(unit_path(path, f->folder, "rare"), user_model, sizeof user_model); /* with the 0 at its end */
        nb_status st = load(f, "rare", &v, &err);
        if (!st) st = nb_tokenizer_create(&t, &v, &err);
        if (!st) st = nb_tokenize_as(t, rare[i].text, strlen(rare[i].text), rare[i].flags, &ids, &err);
        if (st) fail_msg("vocabulary %zu: %s", i, err.text);
        bool same = ids.size == rare[i].n;
        for (size_t k = 0; same && k < ids.size; k++) same = ids.data[k] == rare[i].ids[k];
        for (size_t k = 0; !same && k < ids.size; k++) printf("%d ", (int)ids.data[k]);
        if (!same) fail_msg("vocabulary %zu makes other ids", i);
        nb_ids_free(&ids);
        nb_tokenizer_free(t);
    }
}

/* What tiktoken's patterns become; those of a tokenizer.json are in the rows above. */
static void rust_patterns(void **state) {
    (void)state;
    static const struct {
        const char *text, *read, *sentence; /* one of the two */
    } cases[] = {
        {" ?\\p{L}+|\\s+(?!\\S)", " ?\\p{L}+|\\s+(?!\\S)", NULL},
        {"(?m)^a{1,3}+$", "(?m)^a{1,3}+$", NULL},
        {"\\w+", "[\\w\\x{200c}\\x{200d}]+", NULL},
        {"[^\\w-]", "[^\\w\\x{200c}\\x{200d}-]", NULL},
        {"[^\\W_]", NULL, "has \\W in a class"},
        {"[a-z--b]", NULL, "intersects classes"},
        {"[[:alpha:]]", NULL, "a class within a class"},
        {"\\h", NULL, "has an escape"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        nb_buf read = {0};
        nb_error err = {0};
        nb_status st = nb_tok_regex(NB_DIALECT_RUST, cases[i].text, &read, &err);
        if (cases[i].read) assert_string_equal(nb_buf_str(&read), cases[i].read);
        else if (!st || !strstr(err.text, cases[i].sentence)) fail_msg("%s: %s", cases[i].text, err.text);
        nb_buf_free(&read);
    }
}

/* What Metaspace's decoder leaves of the first token: nothing that stands for a space, but spaces. */
static void first_tokens(void **state) {
    const fixture *f = *state;
    static const struct {
        size_t n;
        int32_t ids[4];
        const char *printed;
    } cases[] = {{2, {2, 1}, "a"}, {2, {4, 2}, "b  "}, {4, {3, 1, 0, 1}, " a a"}, {2, {0, 3}, " "}};
    nb_vocab v;
    nb_tokenizer *t = NULL;
    nb_error err = {0};
    write_text(f, "rare", META BPE("\"_\": 0, \"a\": 1, \"__\": 2, \" \": 3, \"_b\": 4"));
    nb_status st = load(f, "rare", &v, &err);
    if (!st) st = nb_tokenizer_create(&t, &v, &err);
    if (st) fail_msg("%s", err.text);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        nb_buf printed = {0};
        nb_detokenize(t, cases[i].ids, cases[i].n, false, true, &printed);
        assert_string_equal(nb_buf_str(&printed), cases[i].printed);
        nb_buf_free(&printed);
    }
    nb_tokenizer_free(t);
}

/* A tokenizer.json beside a checkpoint of Hugging Face is found, and what lies in the file is what it says. */
static void found_beside(void **state) {
    fixture *f = *state;
    nb_convert_options o = options_for(f, NB_TYPE_Q8);
    nb_convert_report report;
    size_t size;
    make_hf(f, "\"model_type\":\"llama\"");
    write_text(f, "tokenizer.json",
               "{\"decoder\": {\"type\": \"Fuse\"}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, "
               "\"merges\": [\"a b\"]}, \"added_tokens\": [{\"id\": 3, \"content\": \"<|endoftext|>\", \"special\": true}]}");
    convert_ok(f, &o, &report);
    nb_reader *r = open_target(f);
    json_t *model = json_loads(nb_reader_model_json(r, &size), 0, NULL);
    char *text = json_dumps(json_object_get(model, "tokenizer"), JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(
        text, "{\"characters\":true,\"kind\":\"bpe-merges\",\"specials\":[{\"id\":3,\"text\":\"<|endoftext|>\"}],"
              "\"stops\":[3]}");
    assert_non_null(strstr(nb_buf_str(&f->sentences), "the tokenizer has 4 tokens, the model 24"));
    const nb_tensor *merges = find_tensor(r, "tokenizer.merges");
    assert_int_equal(merges->dims[0], 2);
    free(text);
    json_decref(model);
    nb_reader_close(r);
}

/* Stop tokens by their ids, and by the text of eos_token. */
static void stop_tokens(void **state) {
    fixture *f = *state;
    nb_vocab v;
    nb_error err = {0};
    write_text(f, "tokenizer.json",
               "{\"decoder\": {\"type\": \"Fuse\"}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2, "
               "\"<x>\": 3, \"<y>\": 4, \"</s>\": 5}, \"merges\": [[\"a\", \"b\"]]}, \"added_tokens\": [{\"id\": 3, \"content\": \"<x>\", "
               "\"special\": true}, {\"id\": 4, \"content\": \"<y>\", \"special\": true}, {\"id\": 5, \"content\": \"</s>\", "
               "\"special\": true}]}");
    write_text(f, "tokenizer_config.json", "{\"eos_token\": \"<x>\"}");
    write_text(f, "generation_config.json", "{\"eos_token_id\": [4, 3, 99]}");
    if (load(f, "tokenizer.json", &v, &err)) fail_msg("%s", err.text);
    assert_int_equal(v.n_stops, 3); /* </s> by its name */
    assert_int_equal(v.stops[0], 5);
    assert_int_equal(v.stops[1], 3);
    assert_int_equal(v.stops[2], 4);
    assert_int_equal(v.bos, NB_NO_TOKEN);
    nb_vocab_free(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CONVERSION_TEST(chat_templates),
        CONVERSION_TEST(ranks),
        CONVERSION_TEST(rare_vocabularies),
        cmocka_unit_test(rust_patterns),
        CONVERSION_TEST(first_tokens),
        CONVERSION_TEST(found_beside),
        CONVERSION_TEST(stop_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
