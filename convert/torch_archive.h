/* The two containers of torch.save: a pickled tree, and storages that it names by keys.
 *
 * Zip (since PyTorch 1.6): NAME/data.pkl, one stored entry NAME/data/KEY per storage, sometimes NAME/byteorder.
 * Legacy (before, and with _use_new_zipfile_serialization=False): pickles of a magic number, of the protocol's version,
 * of facts about the system, of the tree, and of the list of keys; then for each key a u64 count of elements and the
 * elements. */
#ifndef NB_CONVERT_TORCH_ARCHIVE_H
#define NB_CONVERT_TORCH_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/file.h"
#include "base/status.h"
#include "convert/arena.h"
#include "convert/value.h"

typedef struct nb_torch_archive nb_torch_archive;

typedef struct nb_torch_archive_ops {
    /* Where a storage lies (for `read`), and how many bytes there are; false: there is none. `name` gets what the
     * storage is called in a sentence, in any case. */
    bool (*find)(nb_torch_archive *a, const char *key, size_t *place, uint64_t *bytes, char *name, size_t name_size);
    /* Bytes [offset, offset + n) of the storage at `place`. */
    nb_status (*read)(nb_torch_archive *a, size_t place, uint64_t offset, size_t n, void *dst, nb_error *err);
    void (*close)(nb_torch_archive *a);
} nb_torch_archive_ops;

struct nb_torch_archive {
    const nb_torch_archive_ops *ops;
    nb_file *file; /* what it is read from */
};

/* The archive and its tree, which lives in the arena. Sentences name the file. */
nb_status nb_torch_zip_open(nb_torch_archive **a, const char *path, nb_arena *arena, const nb_value **top,
                            nb_error *err);
nb_status nb_torch_legacy_open(nb_torch_archive **a, const char *path, nb_arena *arena, const nb_value **top,
                               nb_error *err);

#endif
