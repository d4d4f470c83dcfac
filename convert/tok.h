/* Tokenizers beside a checkpoint become an nb_vocab. One tok_*.c per form. */
#ifndef NB_CONVERT_TOK_H
#define NB_CONVERT_TOK_H

#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/status.h"
#include "convert/arch.h"
#include "convert/value.h"
#include "core/vocab.h"

typedef struct nb_tok_input {
    const char *checkpoint; /* path of the checkpoint: the search starts in its folder */
    const char *given;      /* NULL: search; "none"; else a file, or a folder that holds one */
    const nb_arch *arch;
    const nb_value *meta; /* the keys of a GGUF file, which brings its vocabulary along; else NULL */
    uint32_t vocab_size; /* of the model: more tokens are an error */
    void (*say)(void *user, const char *sentence); /* may be NULL */
    void *user;
} nb_tok_input;

/* The vocabulary, checked; *found false (and *vocab zeroed) when there is none or none is wanted. The checkpoint's chat
 * template is appended to `chat_template` where there is one. */
nb_status nb_tok_load(nb_vocab *vocab, bool *found, nb_buf *chat_template, const nb_tok_input *in, nb_error *err);

/* Forms. Each fills an empty vocabulary, without looking at the roles of its special tokens: tok.c knows these by their
 * texts and by what stands in files beside. Sentences begin with "its", the tokenizer's. */
nb_status nb_tok_tiktoken(nb_vocab *v, const nb_value *encoding, nb_error *err);  /* a tiktoken.core.Encoding */
nb_status nb_tok_chars(nb_vocab *v, const nb_value *ids, nb_error *err); /* {character: id} or {id: character} */
nb_status nb_tok_hf(nb_vocab *v, const nb_value *root, nb_error *err);   /* a tokenizer.json */
/* A vocab.json {text: id} with the merges.txt at `merges_path`. */
nb_status nb_tok_gpt2(nb_vocab *v, const nb_value *vocab, const char *merges_path, nb_arena *arena, nb_error *err);
nb_status nb_tok_sentencepiece(nb_vocab *v, const uint8_t *data, size_t n, nb_arena *arena, nb_error *err);
nb_status nb_tok_ranks(nb_vocab *v, const char *text, size_t n, nb_error *err);      /* tiktoken's file of ranks */
nb_status nb_tok_llama2c(nb_vocab *v, const uint8_t *data, size_t n, nb_error *err); /* llama2.c's tokenizer.bin */
nb_status nb_tok_gguf(nb_vocab *v, const nb_value *meta, nb_arena *arena, nb_error *err);
/* Whether a file can be of this form, by its beginning. */
bool nb_tok_is_ranks(const uint8_t *data, size_t n);
bool nb_tok_is_llama2c(const uint8_t *data, size_t n);

/* Stop tokens, and the chat template where there is one, from the files beside a tokenizer's. */
nb_status nb_tok_config(nb_vocab *v, const char *beside, nb_buf *chat_template, nb_error *err);
enum { NB_TOK_CONFIG_ARENA = 64 << 20 };

/* Whether a token of this text is a special one, with a role in the text rather than a spelling. */
bool nb_tok_is_special(const char *text, size_t n);
/* Give special tokens their roles by their texts. What is put before a text and in place of what is unknown goes by
 * name only in forms that do not tell it. */
nb_status nb_tok_apply_roles(nb_vocab *v, bool told, nb_error *err);

#endif
