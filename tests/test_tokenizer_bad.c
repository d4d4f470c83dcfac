/* Tokenizer files that nobody should have made: each is refused with its own sentence; and real ones cut short and with
 * bytes turned over, which are refused or read, but never crash. */
#include "tests/support/unit.h"

#include "base/buf.h"
#include "base/mem.h"
#include "convert/tok.h"
#include "core/tokenizer.h"
#include "tests/support/tokenizer_data.h"

#define BPE(rest) "{\"decoder\": {\"type\": \"Fuse\"}, \"model\": {\"type\": \"BPE\", " rest "}}"
#define VOCAB "\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, "
#define GOOD "\"model\": {\"type\": \"BPE\", " VOCAB "\"merges\": [\"a b\"]}"
#define WITH(part) "{" part ", \"decoder\": {\"type\": \"Fuse\"}, " GOOD "}"
#define PRE(part) WITH("\"pre_tokenizer\": " part)
#define NORM(part) WITH("\"normalizer\": " part)
#define DECODER(part) "{\"decoder\": " part ", " GOOD "}"
#define POST(part) WITH("\"post_processor\": " part)
#define ADDED(part) WITH("\"added_tokens\": " part)
#define UNIGRAM(rest) "{\"decoder\": {\"type\": \"Fuse\"}, \"model\": {\"type\": \"Unigram\", " rest "}}"

static const struct {
    const char *name, *content, *sentence;
} texts[] = {
    {"empty.json", "", "no tokenizer that is known"},
    {"noise.json", "hello world, this is no tokenizer", "no tokenizer that is known"},
    {"cut.json", "{\"model\": {", "line 1"},
    {"no_model.json", "{\"version\": \"1.0\"}", "no 'model'"},
    {"model_type.json", "{\"decoder\": {\"type\": \"Fuse\"}, \"model\": {\"type\": \"WordPiece\"}}", "model 'WordPiece' is not known"},
    {"model_text.json", "{\"decoder\": {\"type\": \"Fuse\"}, \"model\": \"x\"}", "model '' is not known"},
    {"no_vocab.json", BPE("\"merges\": []"), "model has no vocab"},
    {"empty_vocab.json", BPE("\"vocab\": {}, \"merges\": []"), "model has no vocab"},
    {"vocab_list.json", BPE("\"vocab\": [1], \"merges\": []"), "model has no vocab"},
    {"vocab_value.json", BPE("\"vocab\": {\"a\": \"b\"}, \"merges\": []"), "maps a string to a string"},
    {"vocab_negative.json", BPE("\"vocab\": {\"a\": -1}, \"merges\": []"), "maps a string to an integer"},
    {"vocab_far.json", BPE("\"vocab\": {\"a\": 4000000000}, \"merges\": []"), "the id 4000000000 among 1 tokens"},
    {"vocab_twice.json", BPE("\"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []"), "the id 0 twice"},
    {"no_merges.json", BPE("\"vocab\": {\"a\": 0}"), "no merges"},
    {"merge_number.json", BPE(VOCAB "\"merges\": [7]"), "merge 0 is an integer"},
    {"merge_one.json", BPE(VOCAB "\"merges\": [\"ab\"]"), "merge 0 is a string, expected two texts"},
    {"merge_three.json", BPE(VOCAB "\"merges\": [\"a b c\"]"), "merge 0 is a string, expected two texts"},
    {"merge_list.json", BPE(VOCAB "\"merges\": [[\"a\"]]"), "merge 0 is a list"},
    {"merge_unknown.json", BPE(VOCAB "\"merges\": [\"a b\", \"b a\"]"), "merge 1, 'b' and 'a', needs a token"},
    {"unk_missing.json", BPE(VOCAB "\"merges\": [], \"unk_token\": \"<unk>\""), "unk_token '<unk>' is not in its vocab"},
    {"dropout.json", BPE(VOCAB "\"merges\": [], \"dropout\": 0.1"), "leaves out merges at random (\"dropout\": 0.1)"},
    {"suffix.json", BPE(VOCAB "\"merges\": [], \"end_of_word_suffix\": \"</w>\""), "marks where words begin or end"},
    {"no_decoder.json", "{" GOOD "}", "it has no decoder"},
    {"decoder.json", DECODER("{\"type\": \"CTC\"}"), "decoder 'CTC' is not known"},
    {"decoder_replace.json", DECODER("{\"type\": \"Replace\", \"pattern\": {\"String\": \"_\"}, \"content\": \"-\"}"),
     "decoder Replace does anything but"},
    {"decoder_strip.json", DECODER("{\"type\": \"Strip\", \"content\": \" \", \"start\": 2, \"stop\": 0}"), "decoder Strip does anything but"},
    {"decoder_each.json", DECODER("{\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}"), "decoder Strip changes every token"},
    {"decoder_fused.json", DECODER("{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, {\"type\": \"Metaspace\"}]}"),
     "decoder Metaspace stands behind Fuse"},
    {"decoder_list.json", DECODER("{\"type\": \"Sequence\", \"decoders\": 3}"), "decoder Sequence has no list"},
    {"normalizer.json", NORM("{\"type\": \"BertNormalizer\"}"), "normalizer 'BertNormalizer' is not known"},
    {"normalizer_text.json", NORM("\"NFC\""), "normalizer '' is not known"},
    {"precompiled.json", NORM("{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"?\"}"), "no charsmap in base64"},
    {"precompiled_map.json", NORM("{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"AAAA\"}"), "charsmap of 3 bytes"},
    {"prepend.json", NORM("{\"type\": \"Prepend\"}"), "normalizer Prepend has no text"},
    {"replace.json", NORM("{\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, \"content\": \"\"}"), "normalizer Replace has no pattern"},
    {"replace_regex.json", NORM("{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a(\"}, \"content\": \"\"}"), "missing closing parenthesis"},
    {"many_rules.json",
     NORM("{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Sequence\", \"normalizers\": "
          "[{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Sequence\", \"normalizers\": "
          "[{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Sequence\", \"normalizers\": "
          "[]}]}]}]}]}]}]}]}]}"),
     "lies too deep"},
    {"pre.json", PRE("{\"type\": \"UnicodeScripts\"}"), "pre-tokenizer 'UnicodeScripts' is not known"},
    {"split.json", PRE("{\"type\": \"Split\", \"behavior\": \"Isolated\"}"), "Split has no pattern"},
    {"split_behavior.json", PRE("{\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"Burned\"}"), "behavior that is not known"},
    {"split_regex.json", PRE("{\"type\": \"Split\", \"pattern\": {\"Regex\": \"[z-a]\"}, \"behavior\": \"Isolated\"}"), "range out of order"},
    {"split_and.json", PRE("{\"type\": \"Split\", \"pattern\": {\"Regex\": \"[a&&b]\"}, \"behavior\": \"Isolated\"}"), "intersects classes"},
    {"split_interval.json", PRE("{\"type\": \"Split\", \"pattern\": {\"Regex\": \"a{1,3}+\"}, \"behavior\": \"Isolated\"}"), "repeats an interval"},
    {"split_empty.json", PRE("{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(?=[A-Z])\"}, \"behavior\": \"Isolated\"}"), "can match an empty text"},
    {"split_class.json", PRE("{\"type\": \"Split\", \"pattern\": {\"Regex\": \"[[:punct:]]\"}, \"behavior\": \"Isolated\"}"), "class within a class"},
    {"split_escape.json", PRE("{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\h+\"}, \"behavior\": \"Isolated\"}"), "has an escape"},
    {"split_graphemes.json", PRE("{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\X\"}, \"behavior\": \"Isolated\"}"), "has an escape"},
    {"split_lines.json", PRE("{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(?im:.+)\"}, \"behavior\": \"Isolated\"}"), "with (?m)"},
    {"punctuation.json", PRE("{\"type\": \"Punctuation\", \"behavior\": 3}"), "Punctuation has a behavior"},
    {"split_then_change.json",
     PRE("{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\"}, {\"type\": \"Metaspace\"}]}"),
     "change text behind one that splits"},
    {"bytes_twice.json",
     PRE("{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"ByteLevel\", \"add_prefix_space\": false}, "
         "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}]}"),
     "spell bytes as ByteLevel does twice"},
    {"added_dict.json", ADDED("{}"), "added_tokens are a dict"},
    {"added_no_id.json", ADDED("[{\"content\": \"x\"}]"), "one without id or content"},
    {"added_empty.json", ADDED("[{\"content\": \"\", \"id\": 3}]"), "one without id or content"},
    {"added_far.json", ADDED("[{\"content\": \"x\", \"id\": 99999999}]"), "the token id 99999999"},
    {"added_byte.json",
     "{\"decoder\": {\"type\": \"Fuse\"}, \"added_tokens\": [{\"content\": \"<0x61>\", \"id\": 0, \"special\": true}], "
     "\"model\": "
     "{\"type\": \"BPE\", \"byte_fallback\": true, \"vocab\": {\"<0x61>\": 0}, \"merges\": []}}",
     "token 0 cannot be special as '<0x61>', it has bytes of its own"},
    {"added_gap.json", ADDED("[{\"content\": \"x\", \"id\": 5}]"), "'x' has the id 5, to the tokenizers crate it has 3"},
    {"added_other.json", ADDED("[{\"content\": \"b\", \"id\": 0}]"), "'b' has the id 0, to the tokenizers crate it has 1"},
    {"added_character.json",
     "{\"decoder\": {\"type\": \"Fuse\"}, \"added_tokens\": [{\"content\": \"c\", \"id\": 0, \"special\": true}], \"model\": "
     "{\"type\": \"BPE\", \"vocab\": {\"c\": 0}, \"merges\": []}}", "token 0 cannot be special as 'c', it has bytes of its own"},
    {"added_nothing.json",
     WITH("\"normalizer\": {\"type\": \"Strip\"}, \"added_tokens\": [{\"content\": \"\\n\", \"id\": 3, \"normalized\": true}]"),
     "rules leave nothing of the special token 3"},
    {"added_mark.json",
     "{\"decoder\": {\"type\": \"Fuse\"}, \"added_tokens\": [{\"content\": \"a\", \"id\": 0, \"special\": true}], \"model\": "
     "{\"type\": \"Unigram\", \"vocab\": [[\"a\", -1], [\"b\", -1]]}}", "token 0 cannot be special as 'a', it has bytes of its own"},
    {"added_same.json", ADDED("[{\"content\": \"x\", \"id\": 3}, {\"content\": \"x\", \"id\": 4}]"), "same text or id"},
    {"post.json", POST("{\"type\": \"Whatever\"}"), "post-processor 'Whatever' is not known"},
    {"template.json", POST("{\"type\": \"TemplateProcessing\"}"), "template has no 'single'"},
    {"template_token.json", POST("{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}]}"),
     "template names '<s>', which is not one special token"},
    {"template_two.json",
     POST("{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"a\"}}, {\"SpecialToken\": "
          "{\"id\": \"a\"}}], "
          "\"special_tokens\": {\"a\": {\"ids\": [0]}}}"),
     "two tokens on one side"},
    {"template_order.json", POST("{\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {}}, {\"Sequence\": {}}]}"), "not tokens, a text, tokens"},
    {"template_far.json",
     POST("{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"a\"}}], \"special_tokens\": "
          "{\"a\": {\"ids\": [77]}}}"),
     "bos is token 77"},
    {"bert.json", POST("{\"type\": \"BertProcessing\", \"cls\": 3}"), "no [text, id]"},
    {"unigram_vocab.json", UNIGRAM("\"vocab\": {}"), "Unigram has no vocab"},
    {"unigram_entry.json", UNIGRAM("\"vocab\": [[\"a\", -1], [\"b\"]]"), "entry 1 is not [text, score]"},
    {"unigram_unk.json", UNIGRAM("\"vocab\": [[\"a\", -1]], \"unk_id\": 5"), "unk_id is not in its vocab"},
    {"unigram_twice.json", UNIGRAM("\"vocab\": [[\"\", -1]]"), "no ordinary tokens"},
    {"vocab.json", "{\"a\": 0}", "no merges.txt"},
    {"ranks.txt", "YQ== 0\nYg== 1\n", "no encoding that is known has 2 of them"},
    {"ranks_order.txt", "YQ== 0\nYg== 2\n", "line 2 has the rank '2', expected 1"},
    {"ranks_base64.txt", "YQ== 0\n!! 1\n", "line 2 is not a token in base64"},
    {"piece.model", "\x0a\x05\x0a\x01" "a\x18\x09", "of kind 9, which is not known"},
    {"byte.model", "\x0a\x05\x0a\x01" "a\x18\x06", "does not name a byte"},
    {"damaged.model", "\x0a\x7f" "abc", "SentencePiece model, but is damaged"},
    {"words.model", "\x0a\x03\x0a\x01" "a\x12\x02\x18\x03", "model type is 3"},
    {"suffix.model", "\x0a\x03\x0a\x01" "a\x12\x03\xc0\x01\x01", "end with white space"},
    {"unused.model", "\x0a\x05\x0a\x01" "a\x18\x05\x12\x02\x18\x02", "unused piece 0"},
    {"charsmap.model", "\x0a\x03\x0a\x01" "a\x1a\x04\x12\x02xy", "charsmap of 2 bytes"},
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

/* Write a file and load it as a tokenizer. */
static nb_status load(const char *name, const void *bytes, size_t n, nb_vocab *v, nb_error *err) {
    char path[UNIT_PATH];
    nb_buf chat_template = {0};
    bool found = false;
    unit_write_file(unit_path(path, scratch, name), bytes, n);
    const nb_tok_input in = {.checkpoint = path, .given = path, .arch = nb_archs[0], .vocab_size = NB_MAX_VOCAB};
    nb_status st = nb_tok_load(v, &found, &chat_template, &in, err);
    nb_buf_free(&chat_template);
    return st;
}

static void every_file_has_its_sentence(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        nb_vocab v;
        nb_error err = {0};
        if (!load(texts[i].name, texts[i].content, strlen(texts[i].content), &v, &err))
            fail_msg("%s was read", texts[i].name);
        if (!strstr(err.text, texts[i].sentence) || !strstr(err.text, texts[i].name))
            fail_msg("%s: \"%s\", expected \"%s\"", texts[i].name, err.text, texts[i].sentence);
    }
}

/* A user-defined piece of which SentencePiece keeps what it takes out elsewhere. */
static void spaces_in_a_piece_have_their_sentence(void **state) {
    (void)state;
    static const uint8_t spaces[] = {0x0a, 0x0d, 0x0a, 0x04, 'a', ' ', ' ', 'b', 0x15, 0, 0, 0, 0, 0x18, 0x04};
    nb_buf file = {0};
    nb_vocab v;
    nb_error err = {0};
    tokenizer_data("sp_bpe_nfkc/tokenizer.model.zst", &file);
    nb_buf_append(&file, spaces, sizeof spaces);
    assert_int_equal(load("spaces.model", file.data, file.size, &v, &err), NB_UNSUPPORTED);
    if (!strstr(err.text, "'a  b', has spaces that its normalization takes out")) fail_msg("%s", err.text);
    nb_buf_free(&file);
}

/* Metadata of GGUF files comes as values: here from JSON. */
static const struct {
    const char *content, *sentence;
} metas[] = {
    {"{\"tokenizer.ggml.model\": \"bert\"}", "kind 'bert'"},
    {"{\"tokenizer.ggml.model\": 3}", "kind ''"},
    {"{\"tokenizer.ggml.model\": \"llama\"}", "no list 'tokenizer.ggml.tokens'"},
    {"{\"tokenizer.ggml.model\": \"llama\", \"tokenizer.ggml.tokens\": []}", "no list 'tokenizer.ggml.tokens'"},
    {"{\"tokenizer.ggml.model\": \"llama\", \"tokenizer.ggml.tokens\": [1]}", "token 0 is not a text"},
    {"{\"tokenizer.ggml.model\": \"llama\", \"tokenizer.ggml.tokens\": [\"a\"], \"tokenizer.ggml.scores\": [1, 2]}", "1 tokens and as many"},
    {"{\"tokenizer.ggml.model\": \"llama\", \"tokenizer.ggml.tokens\": [\"a\"], \"tokenizer.ggml.token_type\": [9]}", "of kind 9"},
    {"{\"tokenizer.ggml.model\": \"llama\", \"tokenizer.ggml.tokens\": [\"a\"], \"tokenizer.ggml.token_type\": [6]}", "does not name a byte"},
    {"{\"tokenizer.ggml.model\": \"llama\", \"tokenizer.ggml.tokens\": [\"a\"], \"tokenizer.ggml.bos_token_id\": 4}", "'tokenizer.ggml.bos_token_id' is no token"},
    {"{\"tokenizer.ggml.model\": \"gpt2\", \"tokenizer.ggml.tokens\": [\"a\"]}", "no merges"},
    {"{\"tokenizer.ggml.model\": \"gpt2\", \"tokenizer.ggml.tokens\": [\"a\"], \"tokenizer.ggml.pre\": \"nope\"}", "pre-tokenizer 'nope' is not known; known are gpt-2"},
    {"{\"tokenizer.ggml.model\": \"gpt2\", \"tokenizer.ggml.tokens\": [\"a\", \"a\"], \"tokenizer.ggml.merges\": []}", "have the same 1 bytes"},
};

static void every_metadata_has_its_sentence(void **state) {
    (void)state;
    char path[UNIT_PATH];
    for (size_t i = 0; i < COUNT_OF(metas); i++) {
        nb_vocab v;
        nb_error err = {0};
        nb_arena arena = {.limit = 1 << 20};
        nb_buf chat_template = {0};
        const nb_value *meta = NULL;
        bool found = false;
        unit_write_file(unit_path(path, scratch, "meta.json"), metas[i].content, strlen(metas[i].content));
        if (nb_value_from_json_file(path, &arena, &meta, &err)) fail_msg("%s", err.text);
        const nb_tok_input in = {.checkpoint = path, .arch = nb_archs[0], .meta = meta, .vocab_size = NB_MAX_VOCAB};
        if (!nb_tok_load(&v, &found, &chat_template, &in, &err)) fail_msg("metadata %zu was read", i);
        if (!strstr(err.text, metas[i].sentence))
            fail_msg("%zu: \"%s\", expected \"%s\"", i, err.text, metas[i].sentence);
        nb_buf_free(&chat_template);
        nb_arena_free(&arena);
    }
}

static const struct {
    const char *data, *name;
} real[] = {{"hf_metaspace/tokenizer.json.zst", "tokenizer.json"},   {"hf_unigram/tokenizer.json.zst", "tokenizer.json"},
            {"sp_unigram/tokenizer.model.zst", "tokenizer.model"},   {"sp_bpe_user/tokenizer.model.zst", "tokenizer.model"},
            {"llama2c/tokenizer.bin.zst", "tokenizer.bin"},          {"tiktoken_cl100k/tokenizer.pkl.zst", "tokenizer.pkl"}};

/* What was read must also tokenize. */
static void use(nb_vocab *v) {
    nb_tokenizer *t = NULL;
    nb_error err = {0};
    nb_ids ids = {0};
    nb_buf back = {0};
    static const char text[] = "The river\xff \xe4\xbd\xa0  \xef\xac\x81 2";
    if (nb_tokenizer_create(&t, v, &err)) fail_msg("%s", err.text);
    (void)nb_tokenize_as(t, text, sizeof text - 1, NB_TOKENIZE_CONTROL | NB_TOKENIZE_ENDS, &ids, &err);
    nb_detokenize(t, ids.data, ids.size, true, true, &back);
    nb_buf_free(&back);
    nb_ids_free(&ids);
    nb_tokenizer_free(t);
}

static void damaged_files(void **state) {
    (void)state;
    uint64_t seed = 9;
    int rounds = unit_quick() ? 20 : 120;
    for (size_t r = 0; r < COUNT_OF(real); r++) {
        nb_buf data = {0};
        tokenizer_data(real[r].data, &data);
        for (int round = 0; round < rounds; round++) {
            nb_vocab v;
            nb_error err = {0};
            size_t n = round % 2 ? data.size : (size_t)(unit_random(&seed) % data.size), at = 0;
            uint8_t was = 0;
            if (round % 2) {
                at = (size_t)(unit_random(&seed) % (round % 4 == 1 ? 200 : data.size));
                was = data.data[at];
                data.data[at] = (uint8_t)(was ^ 1u << unit_random(&seed) % 8);
            }
            if (!load(real[r].name, data.data, n, &v, &err)) use(&v);
            else assert_true(err.text[0] != 0);
            if (round % 2) data.data[at] = was;
        }
        nb_buf_free(&data);
    }
}

static void memory_runs_out(void **state) {
    (void)state;
    for (size_t r = 0; r < COUNT_OF(real); r++) {
        nb_buf data = {0};
        tokenizer_data(real[r].data, &data);
        long step = 1;
        for (long n = 0;; n += step) {
            nb_vocab v;
            nb_error err = {0};
            nb_mem_fail_at(n);
            nb_status st = load(real[r].name, data.data, data.size, &v, &err);
            bool done = nb_mem_fail_at(-1) <= n;
            if (done || st) assert_int_equal(st, done ? NB_OK : NB_MEMORY); /* patterns go without machine code */
            if (!st) nb_vocab_free(&v);
            if (done) break;
            if (n > 60) step = unit_quick() ? 97 : 17; /* many are alike */
        }
        nb_buf_free(&data);
    }
}

/* Tokenizing and taking apart, with the n-th allocation failing: ids that were there stay. */
static void encoding_without_memory(void **state) {
    (void)state;
    static char text[12000];
    for (size_t i = 0; i < sizeof text; i += 12)
        memcpy(text + i, i % 5000 ? "The rivers. " : "\xc3\xa9\xcc\x81\xcc\xa3\xcc\x81 aaa", 12);
    memset(text + 6000, 'a', 300); /* a long word */
    for (size_t r = 0; r < COUNT_OF(real); r++) {
        nb_buf data = {0};
        nb_vocab v;
        nb_tokenizer *t = NULL;
        nb_error err = {0};
        nb_ids ids = {0};
        tokenizer_data(real[r].data, &data);
        assert_int_equal(load(real[r].name, data.data, data.size, &v, &err), NB_OK);
        assert_int_equal(nb_tokenizer_create(&t, &v, &err), NB_OK);
        for (long n = 0;; n++) {
            nb_ids_free(&ids);
            assert_int_equal(nb_ids_push(&ids, 7, &err), NB_OK);
            nb_mem_fail_at(n);
            nb_status st = nb_tokenize(t, text, sizeof text, &ids, &err);
            bool done = nb_mem_fail_at(-1) <= n;
            if (done || st) assert_int_equal(st, done ? NB_OK : NB_MEMORY); /* it goes without a cache */
            assert_int_equal(ids.data[0], 7);
            if (st) assert_int_equal(ids.size, 1);
            if (done) break;
        }
        nb_ids_free(&ids);
        nb_tokenizer_free(t);
        nb_buf_free(&data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_has_its_sentence),
        cmocka_unit_test(spaces_in_a_piece_have_their_sentence),
        cmocka_unit_test(every_metadata_has_its_sentence),
        cmocka_unit_test(damaged_files),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(encoding_without_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
