/* Regular expressions of tokenizers, run by PCRE2 with UTF and UCP.
 *
 * They are written for Rust's regex and fancy-regex (tiktoken) and for Oniguruma (Hugging Face tokenizers). Where
 * PCRE2 reads a pattern differently and tokenizers depend on it, their reading is taken: `$` is the very end (unless
 * the pattern says (?m)), `.` is all but LF, `\s` is Unicode's White_Space (PCRE2's also takes U+180E, which left
 * White_Space in Unicode 6.3), `\w` is Oniguruma's word character
 * (Unicode's Technical Standard 18, annex C, without U+200C and U+200D, which Rust's has), and a script in \p{} is the
 * character's own script, not one of its extensions. Which code points are letters depends on the Unicode
 * version of the PCRE2 at hand (10.42: Unicode 14); only code points assigned later can differ.
 *
 * An nb_regex is immutable and may be shared by threads; an nb_regex_run belongs to one. */
#ifndef NB_CORE_REGEX_H
#define NB_CORE_REGEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

typedef struct nb_regex nb_regex;

/* `jit`: compile to machine code where PCRE2 can; without, or where it cannot, the pattern is interpreted. NB_FORMAT
 * with the offset of the error for a pattern that does not compile. */
nb_status nb_regex_create(nb_regex **regex, const char *pattern, bool jit, nb_error *err);
void nb_regex_free(nb_regex *r); /* accepts NULL */
/* Whether some text has an empty match, which nb_regex_next passes over; true also where PCRE2 cannot tell. */
bool nb_regex_may_be_empty(const nb_regex *r);

/* What matching needs of its own, for texts of at most n bytes together. */
typedef struct nb_regex_run {
    const nb_regex *regex;
    void *data, *limits;
} nb_regex_run;
nb_status nb_regex_open(nb_regex_run *run, const nb_regex *r, size_t n, nb_error *err);
void nb_regex_close(nb_regex_run *run); /* accepts a zeroed one, and one whose opening failed */

/* The next match in valid UTF-8 text[n] at or after `from`: [*begin, *end), not empty; n, n when there is none.
 * NB_LIMIT when the pattern needs too many steps. */
nb_status nb_regex_next(nb_regex_run *run, const uint8_t *text, size_t n, size_t from, size_t *begin, size_t *end,
                        nb_error *err);

#endif
