/* Regular expressions of tokenizers' libraries, as core/regex.h reads them. */
#ifndef NB_CONVERT_TOK_REGEX_H
#define NB_CONVERT_TOK_REGEX_H

#include "base/buf.h"
#include "base/status.h"

/* Hugging Face tokenizers run theirs by Oniguruma, tiktoken by Rust's fancy-regex. */
typedef enum nb_dialect { NB_DIALECT_ONIGURUMA, NB_DIALECT_RUST } nb_dialect;

/* Append the expression `text`; NB_UNSUPPORTED for what means another thing to PCRE2 and no known tokenizer needs. */
nb_status nb_tok_regex(nb_dialect dialect, const char *text, nb_buf *out, nb_error *err);

#endif
