/* Cutting text into the pieces that byte-pair encoding works on, by the vocabulary's pattern.
 *
 * Patterns are written for the regular expressions of the tokenizers that they come from (Rust's regex and
 * fancy-regex, as in tiktoken and Hugging Face tokenizers) and run here by PCRE2 with UTF and UCP. Where the two read a
 * pattern differently and tokenizers depend on it, Rust's reading is taken: `$` is the very end, `.` is all but LF, and
 * `\s` is Unicode's White_Space (PCRE2's also takes U+180E, which left White_Space in Unicode 6.3). Which code points
 * are letters depends on the Unicode version of the PCRE2 at hand (10.42: Unicode 14); only code points assigned later
 * can differ.
 *
 * A splitter is immutable and may be shared by threads. */
#ifndef NB_CORE_SPLIT_H
#define NB_CORE_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

typedef struct nb_splitter nb_splitter;

/* `jit`: compile to machine code where PCRE2 can; without, or where it cannot, the pattern is interpreted. NB_FORMAT
 * with the offset of the error for a pattern that does not compile. */
nb_status nb_splitter_create(nb_splitter **splitter, const char *pattern, bool jit, nb_error *err);
void nb_splitter_free(nb_splitter *s); /* accepts NULL */

/* Calls `piece` for one piece after the other; together they are text[n], n <= INT32_MAX. What the pattern does not
 * match between two matches is a piece, and so is every run of bytes that are not UTF-8 (the text between such runs is
 * matched as if it stood alone). NB_LIMIT when the pattern needs too many steps. */
typedef nb_status nb_piece_fn(void *user, const uint8_t *piece, size_t n, nb_error *err);
nb_status nb_split(const nb_splitter *s, const char *text, size_t n, nb_piece_fn *piece, void *user, nb_error *err);

#endif
