/* Files: read-only mappings, reads by range and of whole files, and atomic replacement.
 *
 * Paths are UTF-8 as the system takes them; error sentences carry the path. */
#ifndef NB_BASE_FILE_H
#define NB_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/status.h"

/* A file mapped read-only. `data` is valid until nb_unmap; an empty file has size 0 and data != NULL. */
typedef struct nb_map {
    const uint8_t *data;
    size_t size;
} nb_map;
nb_status nb_map_open(nb_map *map, const char *path, nb_error *err);
void nb_map_close(nb_map *map); /* accepts NULL and a zeroed map */
/* A range of the mapping has been read and will hardly be read again: its pages leave this process's memory (they stay in
 * the system's cache, and are mapped anew when read after all). Threads may release ranges that share a page at once. */
void nb_map_release(const nb_map *map, size_t offset, size_t length);

/* Append a whole file, or all of standard input for path "-", to `out`; NB_LIMIT past `limit` bytes,
 * NB_CANCELLED when a signal interrupts standard input. On failure `out` keeps the bytes it had. */
nb_status nb_read_file(const char *path, size_t limit, nb_buf *out, nb_error *err);

/* Somebody who sees what is read, on the thread that reads it. */
typedef struct nb_file_tap {
    void (*see)(void *user, uint64_t offset, const void *bytes, size_t n);
    void *user;
} nb_file_tap;

/* A regular file that is read range by range. Its size is that at opening: a file that has become shorter gives
 * NB_TRUNCATED, not a signal. Reading is thread-safe, closing accepts a zeroed one. */
typedef struct nb_file {
    int fd;
    uint64_t size;
    char *path;      /* owned; NULL: not open */
    nb_file_tap tap; /* see NULL: nobody */
} nb_file;
nb_status nb_file_open(nb_file *f, const char *path, nb_error *err);
nb_status nb_file_read(const nb_file *f, uint64_t offset, size_t n, void *dst, nb_error *err); /* exactly n bytes */
void nb_file_expect(const nb_file *f, uint64_t offset, uint64_t n); /* that will be read soon: the system may begin now; a hint */
void nb_file_close(nb_file *f);

bool nb_is_directory(const char *path);
bool nb_file_exists(const char *path); /* a regular file (or what a link to one names) */

/* A file that appears under its name complete or not at all.
 *
 * nb_replace_begin opens an unnamed file in the target's directory (O_TMPFILE where the file system has it, else a
 * hidden sibling name that is registered for nb_replace_abandon_all). nb_replace_commit syncs it, gives it the
 * target's name and syncs the directory; until then the previous file is untouched, and a process that dies leaves no
 * stray file. (Two exceptions: an unnamed file that replaces another carries a hidden name between two system calls of
 * the commit, and without O_TMPFILE a process that is killed with SIGKILL leaves its hidden sibling.) A
 * link is followed: what it names is replaced. With `overwrite` false an existing target is NB_ARGUMENT ("'x' exists
 * already; --force replaces it"), at the beginning and again, atomically, in the commit.
 * A failed begin or commit leaves nothing behind. nb_replace_abandon drops everything; it accepts a zeroed, abandoned or
 * committed object.
 * One thread at a time per object. */
typedef struct nb_replace {
    int fd;          /* open for writing and positioned writes; -1 when closed */
    char *target;    /* owned */
    char *temporary; /* owned; NULL when the file has no name yet */
    bool overwrite;
} nb_replace;
nb_status nb_replace_begin(nb_replace *r, const char *target, bool overwrite, nb_error *err);
nb_status nb_replace_write(nb_replace *r, const void *bytes, size_t n, nb_error *err);              /* at the end */
nb_status nb_replace_write_at(nb_replace *r, uint64_t offset, const void *bytes, size_t n, nb_error *err);
nb_status nb_replace_commit(nb_replace *r, nb_error *err);
void nb_replace_abandon(nb_replace *r);

/* Unlink every temporary that is still registered. Async-signal-safe: for the handler of a fatal signal. */
void nb_replace_abandon_all(void);

/* Tests: behave as on a file system without O_TMPFILE. */
void nb_replace_named_only(bool on);

#endif
