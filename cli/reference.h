/* What a reference model said about every scored token of a text, in a file: its likeliest tokens with their logits and
 * the probability of all others. Other models are compared with it without running it again.
 *
 * All numbers are little-endian. A header of REFERENCE_HEADER bytes:
 *      0  magic "\x89NBR\r\n\x1a\n"
 *      8  u32 version, 1; readers refuse others
 *     12  u32 k, tokens per record
 *     16  u64 bytes of the file
 *     24  u64 identity of the model
 *     32  u64 XXH3-64 of the text's token ids, each an i32
 *     40  u64 number of token ids
 *     48  u64 tokens of a window
 *     56  u64 tokens from one window to the next
 *     64  u32 size of the vocabulary
 *     68  u32 0; readers refuse others
 *     72  u64 number of records
 *     80  u64 XXH3-64 of the records
 *     88  u64 XXH3-64 of the header's bytes before this
 * Then a record for every scored token, in the order of the text:
 *      0  f64 log-sum-exp of the logits
 *      8  f64 probability of the tokens that are not listed
 *     16  f32 logit of the token that came
 *     20  u32 id [k], ascending, of the k likeliest tokens; of equal ones the lowest ids
 *     20 + 4 k  f32 logit [k]
 * Logits are kept as they are: the log-probability of a token is its logit minus the log-sum-exp, to the bit what the
 * model itself would give. */
#ifndef NB_CLI_REFERENCE_H
#define NB_CLI_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>
#include "base/file.h"
#include "base/status.h"
#include "core/sampler.h"
#include "core/score.h"

/* What a file was made from. It can be compared with where all but the identity are equal. */
typedef struct reference_key {
    uint64_t identity, tokens_hash, n_tokens, ctx, stride;
    uint32_t n_vocab;
} reference_key;
uint64_t reference_tokens_hash(const int32_t *ids, size_t n);

/* ---- writing: records are made by many threads, and appended in order */

typedef struct reference_writer {
    nb_replace file;
    reference_key key;
    XXH3_state_t *hash; /* of the records so far; owned */
    uint64_t n_records;
    uint32_t k;
    size_t record_bytes;
    uint8_t *records; /* [n_rows][record_bytes]; owned */
    struct reference_worker *workers; /* [n_members]; owned */
    int n_members;
} reference_writer;
/* Begin to replace `path`. For up to n_rows records at a time, made by n_members threads. */
nb_status reference_create(reference_writer *w, const char *path, const reference_key *key, uint32_t k, size_t n_rows,
                           int n_members, const nb_kernels *kernels, nb_error *err);
/* Make record `row` of the next ones, by thread `member`. */
void reference_record(reference_writer *w, size_t row, int member, const float *logits, double lse, int32_t target);
nb_status reference_append(reference_writer *w, size_t n_rows, nb_error *err);
nb_status reference_commit(reference_writer *w, nb_error *err);
void reference_abandon(reference_writer *w); /* accepts a zeroed or committed one */

/* ---- reading */

typedef struct reference_file {
    nb_map map;
    const char *path; /* not owned */
    reference_key key;
    uint64_t n_records;
    uint32_t k;
    size_t record_bytes;
} reference_file;
/* Whether a file begins as these do. */
bool reference_recognise(const char *path);
/* Open and check all of it: checksums, and that every record is one. */
nb_status reference_open(reference_file *f, const char *path, nb_error *err);
/* NB_ARGUMENT when it was made from something else than `key`, identity aside, or has not n_records. */
nb_status reference_match(const reference_file *f, const reference_key *key, uint64_t n_records, nb_error *err);
void reference_close(reference_file *f); /* accepts a zeroed one */

/* Room for one record, of a thread; and record i in it. The target's logit comes with it. */
typedef struct reference_room {
    float *logits; /* [k]; owned */
    int32_t *ids;  /* [k] */
} reference_room;
nb_status reference_room_take(reference_room *room, const reference_file *f, nb_error *err);
void reference_room_free(reference_room *room); /* accepts a zeroed one */
nb_top reference_top(const reference_file *f, size_t i, reference_room *room, double *target_logit);

#endif
