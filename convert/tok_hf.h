/* The parts of a tokenizer.json (Hugging Face tokenizers), each imported by a file of its own. */
#ifndef NB_CONVERT_TOK_HF_H
#define NB_CONVERT_TOK_HF_H

#include "base/status.h"
#include "convert/tok_pieces.h"
#include "convert/value.h"
#include "core/vocab.h"

typedef struct nb_hf {
    nb_vocab *v;
    nb_pieces pieces;
    bool bytes; /* text is turned into GPT-2's alphabet of bytes: pieces are in it */
    bool fused; /* of the decoders met so far one joins all tokens */
} nb_hf;

/* "normalizer" and "pre_tokenizer" (NULL or None: there is none) become rules. */
nb_status nb_hf_normalizer(nb_hf *h, const nb_value *normalizer, nb_error *err);
nb_status nb_hf_pre_tokenizer(nb_hf *h, const nb_value *pre, nb_error *err);
nb_status nb_hf_decoder(nb_hf *h, const nb_value *decoder, nb_error *err);
/* "model": its vocabulary into h->pieces, its kind, flags and merges into h->v (merges as ids). */
nb_status nb_hf_model(nb_hf *h, const nb_value *model, nb_error *err);
/* "post_processor": what it puts before and behind a text. */
nb_status nb_hf_post_processor(nb_hf *h, const nb_value *post, nb_error *err);

/* A BPE's vocabulary {text: id} and merges ("a b" or [a, b] each). */
nb_status nb_hf_bpe(nb_hf *h, const nb_value *vocab, const nb_value *merges, nb_error *err);

/* "type" of a part, "" when it has none; nb_hf_flag: a bool under `key`, or `missing`. */
const char *nb_hf_type(const nb_value *part);
bool nb_hf_flag(const nb_value *part, const char *key, bool missing);
/* A text without NUL under `key`, or NULL. */
const char *nb_hf_text(const nb_value *part, const char *key);

#endif
