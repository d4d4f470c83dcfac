#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/mem.h"
#include "convert/pickle.h"
#include "convert/torch_archive.h"

enum { PROTOCOL = 1001, COUNT_BYTES = 8 };

typedef struct storage {
    const nb_value_storage *what;
    uint64_t offset; /* of its elements in the file; 0: not found (yet) */
} storage;

typedef struct archive {
    nb_torch_archive base;
    nb_file file;
    storage *storages; /* [n], by key */
    size_t n;
} archive;

static int by_key(const void *a, const void *b) {
    return strcmp(((const storage *)a)->what->key, ((const storage *)b)->what->key);
}

static storage *find(const archive *a, const char *key) {
    const nb_value_storage what = {.key = key};
    const storage wanted = {.what = &what};
    return a->n ? bsearch(&wanted, a->storages, a->n, sizeof wanted, by_key) : NULL;
}

static bool find_storage(nb_torch_archive *base, const char *key, size_t *place, uint64_t *bytes, char *name,
                         size_t size) {
    const archive *a = (archive *)(void *)base;
    const storage *s = find(a, key);
    snprintf(name, size, "storage '%.200s'", key);
    if (!s || !s->offset) return false;
    *place = (size_t)(s - a->storages);
    *bytes = s->what->count * nb_dtypes[s->what->dtype].bytes;
    return true;
}

static nb_status read_storage(nb_torch_archive *base, size_t place, uint64_t offset, size_t n, void *dst,
                              nb_error *err) {
    const archive *a = (archive *)(void *)base;
    return nb_file_read(&a->file, a->storages[place].offset + offset, n, dst, err);
}

static void close_archive(nb_torch_archive *base) {
    archive *a = (archive *)(void *)base;
    nb_file_close(&a->file);
    nb_free(a->storages);
    nb_free(a);
}

/* The storages that the tree names, each once. */
static nb_status list_storages(archive *a, const nb_value *named, nb_error *err) {
    a->storages = nb_calloc(named->count ? named->count : 1, sizeof *a->storages);
    if (!a->storages) return nb_oom(err, "the list of storages", named->count * sizeof *a->storages);
    for (size_t i = 0; i < named->count; i++) a->storages[i].what = named->items[i]->storage;
    if (named->count) qsort(a->storages, named->count, sizeof *a->storages, by_key);
    for (size_t i = 0; i < named->count; i++) {
        const nb_value_storage *s = a->storages[i].what, *last = a->n ? a->storages[a->n - 1].what : NULL;
        bool again = last && !strcmp(last->key, s->key);
        if (again && (last->dtype != s->dtype || last->count != s->count))
            return nb_fail(err, NB_FORMAT, "storage '%.200s' has two types or sizes", s->key);
        if (!again) a->storages[a->n++] = a->storages[i];
    }
    return NB_OK;
}

/* Behind the pickles: for every key of the list its storage. */
static nb_status place_storages(archive *a, const nb_value *keys, uint64_t at, nb_error *err) {
    for (size_t i = 0; keys->kind == NB_VALUE_LIST && i < keys->count; i++) {
        const nb_value *key = keys->items[i];
        storage *s = key->kind == NB_VALUE_STR ? find(a, key->text) : NULL;
        uint8_t count[COUNT_BYTES];
        if (!s || s->offset)
            return nb_fail(err, NB_FORMAT, "key %zu of its list of storages is no storage, or is there twice", i);
        nb_status st = nb_file_read(&a->file, at, sizeof count, count, err);
        if (st) return st;
        if (nb_get_u64(count) != s->what->count)
            return nb_fail(err, NB_FORMAT, "storage '%.200s' holds %" PRIu64 " elements, expected %" PRIu64,
                           s->what->key, nb_get_u64(count), s->what->count);
        s->offset = at + sizeof count;
        uint64_t bytes = s->what->count * nb_dtypes[s->what->dtype].bytes; /* checked by nb_pickle_persistent */
        if (!nb_range_ok(s->offset, bytes, a->file.size))
            return nb_fail(err, NB_TRUNCATED, "storage '%.200s' has %" PRIu64 " bytes, of which %" PRIu64 " are there",
                           s->what->key, bytes, a->file.size - s->offset);
        at = s->offset + bytes;
    }
    return NB_OK;
}

/* The pickles at the file's beginning, one after the other. */
typedef struct pickles {
    const uint8_t *data;
    size_t size, at;
    nb_arena *arena;
    nb_error *err;
} pickles;

static nb_status next(pickles *p, const char *what, nb_value *storages, const nb_value **root) {
    size_t used = 0;
    nb_status st = nb_pickle_run_storages(p->data + p->at, p->size - p->at, p->arena, root, &used, storages, p->err);
    p->at += used;
    return st ? nb_context(p->err, st, "%s", what) : NB_OK;
}

static nb_status check_system(const nb_value *protocol, const nb_value *system, nb_error *err) {
    const nb_value *little = nb_value_get(system, "little_endian");
    uint64_t version;
    if (!nb_value_u64(protocol, &version) || version != PROTOCOL)
        return nb_fail(err, NB_UNSUPPORTED, "its protocol is not %d", PROTOCOL);
    if (little && little->kind == NB_VALUE_BOOL && !little->boolean)
        return nb_fail(err, NB_UNSUPPORTED, "its numbers are stored in byte order 'big', expected 'little'");
    return NB_OK;
}

static nb_status read_head(archive *a, nb_arena *arena, const nb_value **top, nb_error *err) {
    nb_buf head = {0};
    const nb_value *magic, *protocol, *system, *keys;
    nb_value *named = nb_value_new(arena, NB_VALUE_LIST);
    if (!named) return nb_arena_failed(arena, err);
    size_t n = a->file.size < NB_PICKLE_MAX_BYTES ? (size_t)a->file.size : NB_PICKLE_MAX_BYTES;
    uint8_t *bytes = nb_buf_extend(&head, n);
    nb_status st = bytes ? nb_file_read(&a->file, 0, n, bytes, err) : nb_oom(err, "the pickles of a checkpoint", n);
    pickles p = {.data = head.data, .size = n, .arena = arena, .err = err};
    if (!st) st = next(&p, "the magic number", NULL, &magic);
    if (!st) st = next(&p, "the protocol", NULL, &protocol);
    if (!st) st = next(&p, "the facts about the system", NULL, &system);
    if (!st) st = check_system(protocol, system, err);
    if (!st) st = next(&p, "the tensors", named, top);
    if (!st) st = next(&p, "the list of storages", NULL, &keys);
    if (!st) st = list_storages(a, named, err);
    if (!st) st = place_storages(a, keys, p.at, err);
    nb_buf_free(&head);
    return st;
}

nb_status nb_torch_legacy_open(nb_torch_archive **archive_, const char *path, nb_arena *arena, const nb_value **top,
                               nb_error *err) {
    static const nb_torch_archive_ops ops = {find_storage, read_storage, close_archive};
    archive *a = nb_calloc(1, sizeof *a);
    *archive_ = NULL;
    if (!a) return nb_oom(err, "a checkpoint", sizeof *a);
    a->base = (nb_torch_archive){&ops, &a->file};
    nb_status st = nb_file_open(&a->file, path, err);
    if (!st) {
        st = read_head(a, arena, top, err);
        if (st) nb_context(err, st, "'%s'", path);
    }
    if (st) close_archive(&a->base);
    else *archive_ = &a->base;
    return st;
}
