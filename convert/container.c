#include "convert/container.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/file.h"
#include "base/mem.h"
#include "convert/names.h"
#include "convert/value.h"
#include "format/kind.h"

enum { PATH = 4096, MAX_SHARDS = 4096, MAX_PARTS = 256 };

/* The beginning of a file. */
typedef struct head {
    nb_kind kind;
    uint8_t bytes[NB_KIND_HEAD];
    size_t n;
    uint64_t file_bytes;
} head;

/* ---- one file ---- */

/* Who opens the kinds that are checkpoints. */
static nb_status (*const openers[NB_KIND_UNKNOWN])(nb_source **source, const char *path, nb_error *err) = {
    [NB_KIND_ZIP] = nb_source_torch_open,
    [NB_KIND_TORCH_LEGACY] = nb_source_torch_legacy_open,
    [NB_KIND_GGUF] = nb_source_gguf_open,
    [NB_KIND_LLAMA2C] = nb_source_llama2c_open,
    [NB_KIND_SAFETENSORS] = nb_source_safetensors_open,
};

static nb_status read_head(head *h, const char *path, nb_error *err) {
    nb_file f;
    nb_status st = nb_file_open(&f, path, err);
    if (st) return st;
    *h = (head){.n = f.size < sizeof h->bytes ? (size_t)f.size : sizeof h->bytes, .file_bytes = f.size};
    st = nb_file_read(&f, 0, h->n, h->bytes, err);
    if (!st) h->kind = nb_kind_of(h->bytes, h->n, h->file_bytes);
    nb_file_close(&f);
    return st;
}

static nb_status open_single(nb_source **source, const char *path, const head *h, nb_error *err) {
    if (h->kind != NB_KIND_UNKNOWN) {
        if (openers[h->kind]) return openers[h->kind](source, path, err);
        return nb_fail(err, NB_UNSUPPORTED, "'%s': it is %s", path, nb_kinds[h->kind].what);
    }
    /* The older form of llama2.c begins with its numbers, which may look like a pickle's first byte. */
    if (h->n >= NB_LLAMA2C_HEAD && nb_source_is_llama2c(h->bytes, h->file_bytes))
        return nb_source_llama2c_open(source, path, err);
    if (h->n && h->bytes[0] == 0x80)
        return nb_fail(err, NB_UNSUPPORTED, "'%s': it is a bare pickle, expected a checkpoint written by torch.save",
                       path);
    return nb_fail(err, NB_UNSUPPORTED,
                   "'%s' is no checkpoint of a known form: it does not begin as any file of torch.save, safetensors, "
                   "GGUF or llama2.c",
                   path);
}

static nb_status open_file(nb_source **source, const char *path, nb_error *err) {
    head h;
    nb_status st = read_head(&h, path, err);
    return st ? st : open_single(source, path, &h, err);
}

/* ---- shards with an index ---- */

typedef struct index_reader {
    const char *path;
    const nb_value *map;                   /* {tensor: file} */
    const char *names[MAX_SHARDS];         /* [n], in the order in which the map names them first */
    nb_source *parts[MAX_SHARDS];          /* [n_open] */
    size_t n, n_open;
    nb_error *err;
} index_reader;

static size_t find_shard(const index_reader *x, const char *name) {
    size_t i = 0;
    while (i < x->n && strcmp(x->names[i], name) != 0) i++;
    return i;
}

/* A shard lies beside its index: a name that leads elsewhere is no shard's. */
static bool plain_file_name(const nb_value *v) {
    return v->kind == NB_VALUE_STR && v->count && v->count < 256 && v->text[0] != '.' && !strchr(v->text, '/');
}

static nb_status list_shards(index_reader *x) {
    for (size_t i = 0; i < x->map->count; i++) {
        const nb_value *file = x->map->items[2 * i + 1];
        if (!plain_file_name(file))
            return nb_fail(x->err, NB_FORMAT, "'%s' gives '%.200s' a shard that is no file name", x->path,
                           x->map->items[2 * i]->text);
        if (find_shard(x, file->text) < x->n) continue;
        if (x->n == MAX_SHARDS)
            return nb_fail(x->err, NB_LIMIT, "'%s' names more than %d shards", x->path, MAX_SHARDS);
        x->names[x->n++] = file->text;
    }
    return x->n ? NB_OK : nb_fail(x->err, NB_FORMAT, "'%s' has a weight_map without tensors", x->path);
}

static nb_status open_shards(index_reader *x) {
    char path[PATH];
    for (; x->n_open < x->n; x->n_open++) {
        const char *name = x->names[x->n_open];
        if (!nb_name_beside(x->path, name, path, sizeof path) || !nb_file_exists(path))
            return nb_fail(x->err, NB_MISSING, "shard '%s', which '%s' names, is not beside it", name, x->path);
        nb_status st = open_file(&x->parts[x->n_open], path, x->err);
        if (st) return st;
    }
    return NB_OK;
}

/* Every tensor of the index is in the shard that the index says. */
static nb_status check_map(const index_reader *x) {
    for (size_t i = 0; i < x->map->count; i++) {
        const nb_value *name = x->map->items[2 * i], *file = x->map->items[2 * i + 1];
        nb_source_tensor named;
        if (nb_source_tensor_set(&named, name->text, name->count, NB_DTYPE_F32, 0, NULL, NULL) ||
            !nb_source_find(x->parts[find_shard(x, file->text)], named.name))
            return nb_fail(x->err, NB_MISSING, "tensor '%.200s' is not in '%s', where '%s' has it", name->text,
                           file->text, x->path);
    }
    return NB_OK;
}

static nb_status open_index(nb_source **source, const char *path, nb_error *err) {
    nb_arena arena = {.limit = 256 << 20};
    const nb_value *root = NULL;
    index_reader *x = nb_calloc(1, sizeof *x);
    if (!x) return nb_oom(err, "an index of shards", sizeof *x);
    *x = (index_reader){.path = path, .err = err};
    nb_status st = nb_value_from_json_file(path, &arena, &root, err);
    if (!st && !((x->map = nb_value_get(root, "weight_map")) && x->map->kind == NB_VALUE_DICT))
        st = nb_fail(err, NB_FORMAT, "'%s' has no weight_map: not the index of a checkpoint in shards", path);
    if (!st) st = list_shards(x);
    if (!st) st = open_shards(x);
    if (!st) st = check_map(x);
    if (!st) {
        st = nb_source_union(source, x->parts, x->n_open, err);
        if (st) nb_context(err, st, "'%s'", path);
        x->n_open = 0;
    }
    for (size_t i = 0; i < x->n_open; i++) nb_source_close(x->parts[i]);
    nb_free(x);
    nb_arena_free(&arena);
    return st;
}

/* ---- Meta's model-parallel parts ---- */

static const char META_PATTERN[] = "consolidated.#.pth";

/* The largest number in a name like that of `path`, plus 1; 0: `path` has another name. */
static nb_status count_parts(const char *path, size_t *n, nb_error *err) {
    nb_buf folder = {0}, last = {0};
    const char *base = nb_name_base(path), *hole;
    size_t digits;
    *n = 0;
    if (!nb_name_match(META_PATTERN, sizeof META_PATTERN - 1, base, &hole, &digits)) return NB_OK;
    nb_buf_append(&folder, path, (size_t)(base - path));
    nb_buf_text(&folder, ".");
    nb_status st = folder.failed ? nb_oom(err, "a path", folder.size)
                                 : nb_name_find(nb_buf_str(&folder), META_PATTERN, sizeof META_PATTERN - 1, &last, err);
    if (!st && nb_name_match(META_PATTERN, sizeof META_PATTERN - 1, nb_buf_str(&last), &hole, &digits)) {
        *n = (size_t)strtoul(hole, NULL, 10) + 1; /* saturates; compared with a limit */
        if (*n > MAX_PARTS)
            st = nb_fail(err, NB_LIMIT, "'%s' is one of more than %d parts", nb_buf_str(&last), MAX_PARTS);
    }
    nb_buf_free(&folder);
    nb_buf_free(&last);
    return st;
}

static nb_status open_parts(nb_source **source, const char *path, size_t n, nb_error *err) {
    nb_source *parts[MAX_PARTS];
    char name[40], part[PATH];
    size_t opened = 0;
    nb_status st = NB_OK;
    while (!st && opened < n) {
        snprintf(name, sizeof name, "consolidated.%02zu.pth", opened);
        if (!nb_name_beside(path, name, part, sizeof part) || !nb_file_exists(part))
            st = nb_fail(err, NB_MISSING, "'%s' is one of %zu parts, but '%s' is not beside it", path, n, name);
        else st = open_file(&parts[opened], part, err);
        opened += !st;
    }
    if (!st) return nb_source_join(source, parts, n, err);
    while (opened > 0) nb_source_close(parts[--opened]);
    return st;
}

nb_status nb_container_open(nb_source **source, const char *path, nb_error *err) {
    head h;
    size_t n = 0;
    *source = NULL;
    nb_status st = read_head(&h, path, err);
    if (!st) st = count_parts(path, &n, err);
    if (st) return st;
    if (n > 1) return open_parts(source, path, n, err);
    bool json = h.kind != NB_KIND_SAFETENSORS && h.n && h.bytes[0] == '{'; /* a length may begin with that byte */
    return json ? open_index(source, path, err) : open_single(source, path, &h, err);
}
