#include "convert/tok.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/mem.h"
#include "convert/pickle.h"

enum { PATH = 4096 };

/* Where a tokenizer may lie, seen from the folder of the checkpoint. nanochat keeps it in BASE/tokenizer and checkpoints
 * in BASE/base_checkpoints/d20. */
static const char *const folders[] = {"", "tokenizer/", "../tokenizer/", "../../tokenizer/"};

/* What special tokens are for, by their usual names. */
enum { ROLE_BOS = 1, ROLE_STOP = 2, ROLE_UNK = 4, ROLE_PAD = 8 };
static const struct {
    const char *text;
    int roles;
} roles[] = {
    {"<|bos|>", ROLE_BOS | ROLE_STOP}, /* nanochat: a new document ends the answer too */
    {"<|assistant_end|>", ROLE_STOP},
    {"<|endoftext|>", ROLE_BOS | ROLE_STOP},
    {"<pad>", ROLE_PAD}, /* MiniGPT */
    {"<unk>", ROLE_UNK},
    {"<sep>", ROLE_STOP},
};

bool nb_tok_is_special(const char *text, size_t n) {
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strlen(roles[i].text) == n && !memcmp(roles[i].text, text, n)) return true;
    return false;
}

static nb_status apply_roles(nb_vocab *v, nb_error *err) {
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < sizeof roles / sizeof *roles; i++) {
        int32_t id = nb_vocab_special(v, roles[i].text);
        if (id == NB_NO_TOKEN) continue;
        if (roles[i].roles & ROLE_BOS) v->bos = v->bos == NB_NO_TOKEN ? id : v->bos;
        if (roles[i].roles & ROLE_UNK) v->unk = id;
        if (roles[i].roles & ROLE_PAD) v->pad = id;
        if (roles[i].roles & ROLE_STOP) st = nb_vocab_add_stop(v, id, err);
    }
    return st;
}

bool nb_tok_beside(const char *beside, const char *name, char *dst, size_t n) {
    const char *slash = strrchr(beside, '/');
    size_t folder = slash ? (size_t)(slash - beside) + 1 : 0, length = strlen(name);
    if (folder >= n || length >= n - folder) return false;
    memcpy(dst, beside, folder);
    memcpy(dst + folder, name, length + 1);
    return true;
}

/* The first of the family's file names that exists in one of the folders around `origin` (a file in the first). */
static bool search(const nb_arch *arch, const char *origin, char path[PATH]) {
    char name[300];
    size_t n = sizeof arch->tokenizer_files / sizeof *arch->tokenizer_files;
    for (size_t d = 0; d < sizeof folders / sizeof *folders; d++)
        for (size_t i = 0; i < n && arch->tokenizer_files[i]; i++) {
            snprintf(name, sizeof name, "%s%s", folders[d], arch->tokenizer_files[i]);
            if (nb_tok_beside(origin, name, path, PATH) && nb_file_exists(path)) return true;
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

static nb_status load_json(nb_vocab *v, const char *path, nb_arena *arena, nb_error *err) {
    const nb_value *root = NULL, *ids;
    nb_status st = nb_value_from_json_file(path, arena, &root, err);
    if (st) return st;
    ids = nb_value_get(root, "word2id");
    if (!ids) return nb_fail(err, NB_UNSUPPORTED, "it has no 'word2id': not the vocabulary of a MiniGPT checkpoint");
    return nb_tok_chars(v, ids, err);
}

static nb_status load_file(nb_vocab *v, const char *path, nb_error *err) {
    nb_buf file = {0};
    nb_arena arena = {.limit = NB_PICKLE_ARENA};
    nb_status st = nb_read_file(path, NB_PICKLE_MAX_BYTES, &file, err);
    if (st) goto out;
    if (file.size && file.data[0] == 0x80) st = load_pickle(v, &file, &arena, err);
    else if (file.size && file.data[0] == '{') st = load_json(v, path, &arena, err);
    else
        st = nb_fail(err, NB_UNSUPPORTED,
                     "it is no tokenizer that is known (a pickled tiktoken Encoding, meta.pkl of nanoGPT, vocab.json "
                     "of MiniGPT)");
    if (!st) st = apply_roles(v, err);
    if (!st) st = nb_vocab_check(v, err);
out:
    nb_arena_free(&arena);
    nb_buf_free(&file);
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

nb_status nb_tok_load(nb_vocab *vocab, bool *found, const nb_tok_input *in, nb_error *err) {
    char path[PATH], text[200];
    *vocab = (nb_vocab){0};
    nb_status st = find(in, path, found, err);
    if (st || !*found) return st;
    st = load_file(vocab, path, err);
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
