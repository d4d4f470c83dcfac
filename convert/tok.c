#include "convert/tok.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/mem.h"
#include "convert/names.h"
#include "convert/pickle.h"

enum { PATH = 4096 };

/* Where a tokenizer may lie, seen from the folder of the checkpoint. nanochat keeps it in BASE/tokenizer and
 * checkpoints in BASE/base_checkpoints/d20; above the checkpoint's folder only the family's own names count. */
static const char *const folders[] = {"", "tokenizer/", "../tokenizer/", "../../tokenizer/"};
enum { N_NEAR = 2 };

/* Names that tokenizers have whatever the family. */
static const char *const usual_names[] = {"tokenizer.json", "tokenizer.model", "tokenizer.pkl", "vocab.json",
                                          "tokenizer.bin"};
enum { N_USUAL = sizeof usual_names / sizeof *usual_names };

static const char *name_at(const nb_arch *arch, size_t i) {
    size_t own = sizeof arch->tokenizer_files / sizeof *arch->tokenizer_files;
    return i < own ? arch->tokenizer_files[i] : i - own < N_USUAL ? usual_names[i - own] : NULL;
}

/* The first of the family's and the usual names that exists in one of the folders around `origin` (a file in the
 * first). */
static bool search(const nb_arch *arch, const char *origin, char path[PATH]) {
    char name[300];
    size_t n = sizeof arch->tokenizer_files / sizeof *arch->tokenizer_files + N_USUAL;
    for (size_t d = 0; d < sizeof folders / sizeof *folders; d++)
        for (size_t i = 0; i < n; i++) {
            if (!name_at(arch, i) || (d >= N_NEAR && i >= n - N_USUAL)) continue;
            snprintf(name, sizeof name, "%s%s", folders[d], name_at(arch, i));
            if (nb_name_beside(origin, name, path, PATH) && nb_file_exists(path)) return true;
        }
    return false;
}

static nb_status load_pickle(nb_vocab *v, const nb_buf *file, nb_arena *arena, nb_error *err) {
    const nb_value *root = NULL;
    nb_status st = nb_pickle_run(file->data, file->size, arena, &root, NULL, err);
    if (st) return st;
    if (root->kind == NB_VALUE_OBJECT) return nb_tok_tiktoken(v, root, err);
    const nb_value *ids = nb_value_get(root, "itos") ? nb_value_get(root, "itos") : nb_value_get(root, "stoi");
    if (ids) return nb_tok_chars(v, ids, err);
    return nb_fail(err, NB_UNSUPPORTED, "it holds %s, expected a tiktoken Encoding or a dict with 'itos'",
                   nb_value_kind_name(root->kind));
}

/* tokenizer.json, MiniGPT's vocab.json, or GPT-2's, which has a merges.txt beside it. */
static nb_status load_json(nb_vocab *v, const char *path, nb_arena *arena, nb_error *err) {
    char merges[PATH];
    const nb_value *root = NULL;
    nb_status st = nb_value_from_json_file(path, arena, &root, err);
    if (st) return st;
    if (nb_value_get(root, "word2id")) return nb_tok_chars(v, nb_value_get(root, "word2id"), err);
    if (nb_value_get(root, "model")) return nb_tok_hf(v, root, err);
    if (nb_name_beside(path, "merges.txt", merges, sizeof merges) && nb_file_exists(merges))
        return nb_tok_gpt2(v, root, merges, arena, err);
    return nb_fail(err, NB_UNSUPPORTED,
                   "it has no 'model' (a tokenizer.json), no 'word2id' (MiniGPT's vocab.json), and no merges.txt "
                   "beside it (GPT-2's)");
}

/* The file's form shows in its first bytes. */
static nb_status load_form(nb_vocab *v, const char *path, const nb_buf *file, nb_arena *arena, nb_error *err) {
    int first = file->size ? file->data[0] : -1;
    if (first == 0x80) return load_pickle(v, file, arena, err);
    if (first == '{') return load_json(v, path, arena, err);
    if (first == 0x0a) return nb_tok_sentencepiece(v, file->data, file->size, arena, err);
    if (nb_tok_is_ranks(file->data, file->size)) return nb_tok_ranks(v, nb_buf_str(file), file->size, err);
    if (nb_tok_is_llama2c(file->data, file->size)) return nb_tok_llama2c(v, file->data, file->size, err);
    return nb_fail(err, NB_UNSUPPORTED,
                   "it is no tokenizer that is known (tokenizer.json, tokenizer.model, a pickled tiktoken Encoding or "
                   "its ranks, vocab.json, tokenizer.bin, meta.pkl)");
}

/* Whether the form itself says what is put before a text and in place of what is unknown. */
static bool tells_roles(const nb_vocab *v) {
    return v->kind != NB_VOCAB_BPE_RANKS && v->kind != NB_VOCAB_CHARS;
}

static nb_status load_file(nb_vocab *v, const char *path, nb_buf *chat_template, nb_error *err) {
    nb_buf file = {0};
    nb_arena arena = {.limit = NB_PICKLE_ARENA};
    nb_status st = nb_read_file(path, NB_PICKLE_MAX_BYTES, &file, err);
    if (!st) st = load_form(v, path, &file, &arena, err);
    if (!st) st = nb_tok_apply_roles(v, tells_roles(v), err);
    if (!st) st = nb_tok_config(v, path, chat_template, err);
    if (!st) st = nb_vocab_check(v, err);
    nb_arena_free(&arena);
    nb_buf_free(&file);
    return st;
}

/* The vocabulary that a checkpoint brings along. */
static nb_status load_meta(nb_vocab *v, const nb_value *meta, nb_buf *chat_template, nb_error *err) {
    nb_arena arena = {.limit = NB_PICKLE_ARENA};
    const nb_value *text = nb_value_get(meta, "tokenizer.chat_template");
    if (text && text->kind == NB_VALUE_STR) nb_buf_text(chat_template, text->text);
    nb_status st = nb_tok_gguf(v, meta, &arena, err);
    if (!st) st = nb_tok_apply_roles(v, true, err);
    if (!st) st = nb_vocab_check(v, err);
    nb_arena_free(&arena);
    return st;
}

static void say_missing(const nb_tok_input *in) {
    char text[400];
    snprintf(text, sizeof text,
             "no tokenizer (looked for %s beside the checkpoint and in tokenizer/ there and above): the model will "
             "take and give "
             "token ids only; --tokenizer PATH names one",
             in->arch->tokenizer_files[0]);
    if (in->say) in->say(in->user, text);
}

static nb_status find(const nb_tok_input *in, char path[PATH], bool *found, nb_error *err) {
    *found = false;
    if (!in->given) {
        *found = search(in->arch, in->checkpoint, path);
        if (!*found) say_missing(in);
        return NB_OK;
    }
    if (!strcmp(in->given, "none")) return NB_OK;
    char origin[PATH];
    *found = true;
    if (!nb_is_directory(in->given)) {
        if ((size_t)snprintf(path, PATH, "%s", in->given) < PATH) return NB_OK;
        return nb_fail(err, NB_ARGUMENT, "the path of the tokenizer is too long");
    }
    if ((size_t)snprintf(origin, sizeof origin, "%s/x", in->given) < sizeof origin && search(in->arch, origin, path))
        return NB_OK;
    return nb_fail(err, NB_MISSING, "'%s' holds no %s", in->given, in->arch->tokenizer_files[0]);
}

nb_status nb_tok_load(nb_vocab *vocab, bool *found, nb_buf *chat_template, const nb_tok_input *in, nb_error *err) {
    char path[PATH], text[200];
    *vocab = (nb_vocab){0};
    bool own = !in->given && nb_value_get(in->meta, "tokenizer.ggml.model");
    nb_status st = NB_OK;
    if (own) {
        *found = true;
        snprintf(path, sizeof path, "%s", in->checkpoint);
    } else {
        st = find(in, path, found, err);
    }
    if (st || !*found) return st;
    st = own ? load_meta(vocab, in->meta, chat_template, err) : load_file(vocab, path, chat_template, err);
    if (!st && vocab->n_tokens > in->vocab_size)
        st = nb_fail(err, NB_FORMAT, "it has %u tokens, but the model only %u: not the tokenizer of this model",
                     (unsigned)vocab->n_tokens, (unsigned)in->vocab_size);
    if (st) {
        nb_vocab_free(vocab);
        *found = false;
        return nb_context(err, st, "tokenizer '%s'", path);
    }
    if (vocab->n_tokens < in->vocab_size && in->say) {
        snprintf(text, sizeof text, "the tokenizer has %u tokens, the model %u: ids from %u on have no text",
                 (unsigned)vocab->n_tokens, (unsigned)in->vocab_size, (unsigned)vocab->n_tokens);
        in->say(in->user, text);
    }
    return NB_OK;
}
