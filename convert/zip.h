/* Zip archives that nobody vouches for, read entry by entry and range by range.
 *
 * Opening checks every entry: no encryption, no duplicate names, sizes that fit the file. Stored entries are read by
 * range; deflated ones are unpacked whole into memory, up to a limit, and kept until another one is read. One thread at
 * a time. Error sentences name the entry, those of opening the archive. */
#ifndef NB_CONVERT_ZIP_H
#define NB_CONVERT_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/status.h"

typedef struct nb_zip nb_zip;

enum {
    NB_ZIP_MAX_ENTRIES = 1 << 20,
    NB_ZIP_MAX_UNPACKED = 512 << 20 /* of a deflated entry */
};

nb_status nb_zip_open(nb_zip **zip, const char *path, nb_error *err);
void nb_zip_close(nb_zip *z); /* accepts NULL */

nb_file *nb_zip_file(nb_zip *z); /* through which it is read */

size_t nb_zip_count(const nb_zip *z);
const char *nb_zip_name(const nb_zip *z, size_t i);
uint64_t nb_zip_size(const nb_zip *z, size_t i); /* unpacked */
bool nb_zip_find(const nb_zip *z, const char *name, size_t *i);

/* Bytes [offset, offset + n) of entry i. */
nb_status nb_zip_read(nb_zip *z, size_t i, uint64_t offset, size_t n, void *dst, nb_error *err);
/* The whole entry, appended to `out`; NB_LIMIT when it holds more than `limit` bytes. */
nb_status nb_zip_read_all(nb_zip *z, size_t i, size_t limit, nb_buf *out, nb_error *err);

#endif
