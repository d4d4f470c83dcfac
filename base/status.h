/* Outcomes and error sentences.
 *
 * A function that can fail returns nb_status and, when it fails, leaves one sentence in the caller's nb_error: what
 * failed, where, what was expected, what was found. The caller owns the nb_error; it may be NULL when nobody reads the
 * sentence. Nothing here allocates, exits or aborts. Thread safety: an nb_error belongs to one thread at a time. */
#ifndef NB_BASE_STATUS_H
#define NB_BASE_STATUS_H

typedef enum nb_status {
#define STATUS(name, text) NB_##name,
#include "base/status.def"
#undef STATUS
} nb_status;

enum { NB_ERROR_TEXT = 2048 };

typedef struct nb_error {
    nb_status status;
    char text[NB_ERROR_TEXT]; /* one sentence, UTF-8, no newline at the end; one that does not fit ends in "..." */
} nb_error;

#if defined(__GNUC__)
#define NB_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define NB_MUST_CHECK __attribute__((warn_unused_result))
#else
#define NB_PRINTF(fmt, args)
#define NB_MUST_CHECK
#endif

/* Store `status` and the formatted sentence in `err` (when not NULL) and return `status`:
 *     if (len > left) return nb_fail(err, NB_TRUNCATED, "tensor '%s': %zu bytes missing", name, len - left); */
nb_status nb_fail(nb_error *err, nb_status status, const char *fmt, ...) NB_PRINTF(3, 4);

/* As nb_fail for a system call: appends ": " and the text of errno value `errnum`. The status is NB_IO, or NB_MEMORY
 * for ENOMEM. */
nb_status nb_fail_errno(nb_error *err, int errnum, const char *fmt, ...) NB_PRINTF(3, 4);

/* Prefix the sentence already in `err` with "<formatted>: " and return its status unchanged. */
nb_status nb_context(nb_error *err, nb_status status, const char *fmt, ...) NB_PRINTF(3, 4);

/* A failure is never NB_OK, whatever status it was given. The macros of the same names say so where compilers and
 * analyzers see it; else they would follow paths on which a failure was reported and then taken for success. */
static inline nb_status nb_not_ok(nb_status status) {
    return status == NB_OK ? NB_IO : status;
}
#define nb_fail(...) nb_not_ok((nb_fail)(__VA_ARGS__))
#define nb_fail_errno(...) nb_not_ok((nb_fail_errno)(__VA_ARGS__))
#define nb_context(...) nb_not_ok((nb_context)(__VA_ARGS__))

/* The text of a status as status.def gives it. */
const char *nb_status_text(nb_status status);

#endif
