/* A checkpoint as the converter sees it, whatever its container: named tensors whose blocks can be read as f32, and a
 * tree of metadata.
 *
 * One source_*.c per container implements the functions of nb_source_ops. Sentences of reading name the file. One
 * thread at a time, but for nb_source_fetch, and so for `place`. */
#ifndef NB_CONVERT_SOURCE_H
#define NB_CONVERT_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/file.h"
#include "base/status.h"
#include "convert/arena.h"
#include "convert/dtype.h"
#include "convert/value.h"

enum { NB_SOURCE_DIMS = NB_VALUE_DIMS, NB_SOURCE_MAX_TENSORS = 1 << 20 };

typedef struct nb_source_tensor {
    const char *name; /* without the prefixes that wrappers of modules add */
    nb_dtype dtype;
    uint32_t n_dims;
    uint64_t dims[NB_SOURCE_DIMS];
    const void *where; /* the implementation's */
} nb_source_tensor;

typedef struct nb_source nb_source;

typedef struct nb_source_ops {
    /* Rows [row, row + n_rows) and columns [col, col + n_cols) of t seen as a matrix, inside its shape, into
     * dst [n_rows][n_cols]. The type of t can be widened. */
    nb_status (*read)(nb_source *s, const nb_source_tensor *t, uint64_t row, uint64_t n_rows, uint64_t col,
                      uint64_t n_cols, float *dst, nb_error *err);
    void (*close)(nb_source *s);
    /* The file in which the rows of t lie one after the other, and the offset of the first; NULL: they do not. The
     * function may be left out. */
    const nb_file *(*place)(nb_source *s, const nb_source_tensor *t, uint64_t *offset);
} nb_source_ops;

struct nb_source {
    const nb_source_ops *ops;
    nb_arena arena; /* tensors, names and metadata */
    const nb_source_tensor *tensors; /* [n_tensors], in the checkpoint's order, no two of one name */
    size_t n_tensors;
    const nb_source_tensor **by_name; /* the same, sorted by name */
    const nb_value *meta;    /* what the file holds besides; may be NULL */
    const char *wrapper;     /* key of `meta` under which the tensors were found; "" at the top */
    const char *const *files; /* [n_files], paths of what it is read from, in the order in which they are hashed */
    nb_file *const *handles;  /* [n_files] through which they are read; NULL where it is none of these */
    size_t n_files;
};

/* PyTorch: the zip form of torch.save since 1.6. Tensors come from the dictionary under one of the keys that training
 * scripts use, or from the top. */
nb_status nb_source_torch_open(nb_source **source, const char *path, nb_error *err);
nb_status nb_source_torch_legacy_open(nb_source **source, const char *path, nb_error *err); /* its form before 1.6 */
/* safetensors: github.com/huggingface/safetensors, README.md, "Format". The metadata is the header's __metadata__. */
nb_status nb_source_safetensors_open(nb_source **source, const char *path, nb_error *err);
/* GGUF, also in split files. The metadata is {"gguf": {all keys}, "model": {the architecture's, without its name before
 * them}}. */
nb_status nb_source_gguf_open(nb_source **source, const char *path, nb_error *err);
/* llama2.c: its .bin files of versions 0, 1 and 2, with the names of Meta's tensors. The metadata is {"llama2c": {the
 * header as the training script's configuration}}. */
nb_status nb_source_llama2c_open(nb_source **source, const char *path, nb_error *err);
/* Whether a file that begins like this and has so many bytes can be of version 0, which has no magic number. */
enum { NB_LLAMA2C_HEAD = 28 };
bool nb_source_is_llama2c(const uint8_t head[NB_LLAMA2C_HEAD], uint64_t bytes);

/* Several sources as one: all their tensors, no two of one name. The metadata is that of the first. Takes the parts,
 * also when it fails. */
nb_status nb_source_union(nb_source **source, nb_source **parts, size_t n, nb_error *err);
/* Several sources with a part of every tensor each, as Meta's model-parallel training leaves them: vectors are copies,
 * matrices are cut by rows, except those that its code cuts by columns. The rest as above. */
nb_status nb_source_join(nb_source **source, nb_source **parts, size_t n, nb_error *err);

/* *source with the LoRA adapter in `folder` merged into it, times `scale`: a new source that owns the old one. When it
 * fails, *source is as before. *changed is the number of tensors that it changes. */
nb_status nb_source_lora_open(nb_source **source, const char *folder, double scale, size_t *changed, nb_error *err);

void nb_source_close(nb_source *s); /* accepts NULL */

/* For openers. A tensor's record: the prefixes that torch.compile and DistributedDataParallel put before names are
 * dropped (the name is not copied), and the shape is checked. */
nb_status nb_source_tensor_set(nb_source_tensor *t, const char *name, size_t n_name, nb_dtype dtype, uint32_t n_dims,
                               const uint64_t *dims, nb_error *err);
/* Their list (in the arena) becomes that of the source; a name that is there twice is refused. */
nb_status nb_source_set_tensors(nb_source *s, const nb_source_tensor *tensors, size_t n, nb_error *err);
nb_status nb_source_set_file(nb_source *s, const char *path, nb_file *handle, nb_error *err); /* the only one */

const nb_source_tensor *nb_source_find(const nb_source *s, const char *name); /* NULL: no such tensor */

/* A tensor as a matrix: a vector is one row, more than two dimensions are rows of the last one. */
uint64_t nb_source_rows(const nb_source_tensor *t);
uint64_t nb_source_cols(const nb_source_tensor *t);

nb_status nb_source_read(nb_source *s, const nb_source_tensor *t, uint64_t row, uint64_t n_rows, uint64_t col,
                         uint64_t n_cols, float *dst, nb_error *err);

/* Whether nb_source_fetch can: the rows of t lie side by side in a file. */
bool nb_source_fetches(nb_source *s, const nb_source_tensor *t);
/* Whole rows as they lie there, n_rows times so many bytes. Threads can do this side by side. */
nb_status nb_source_fetch(nb_source *s, const nb_source_tensor *t, uint64_t row, uint64_t n_rows, uint8_t *dst,
                          nb_error *err);
size_t nb_source_row_bytes(const nb_source_tensor *t); /* of whole blocks */

/* "[3, 4]" */
enum { NB_SHAPE_TEXT = 200 };
const char *nb_source_shape(const nb_source_tensor *t, char text[NB_SHAPE_TEXT]);

#endif
