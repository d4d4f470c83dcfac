#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "base/mem.h"
#include "convert/pickle.h"
#include "convert/torch_archive.h"
#include "convert/zip.h"

typedef struct archive {
    nb_torch_archive base;
    nb_zip *zip;
    const char *dir; /* "NAME/" or "" */
} archive;

static bool find_storage(nb_torch_archive *base, const char *key, size_t *place, uint64_t *bytes, char *name,
                         size_t size) {
    const archive *a = (archive *)base;
    char path[700];
    size_t n = (size_t)snprintf(path, sizeof path, "%sdata/%s", a->dir, key);
    snprintf(name, size, "entry '%.200s'", path);
    if (n >= sizeof path || !nb_zip_find(a->zip, path, place)) return false;
    *bytes = nb_zip_size(a->zip, *place);
    return true;
}

static nb_status read_storage(nb_torch_archive *base, size_t place, uint64_t offset, size_t n, void *dst,
                              nb_error *err) {
    return nb_zip_read(((archive *)base)->zip, place, offset, n, dst, err);
}

static void close_archive(nb_torch_archive *base) {
    archive *a = (archive *)base;
    nb_zip_close(a->zip);
    nb_free(a);
}

/* The archive's one directory: what comes before "data.pkl". */
static nb_status find_dir(archive *a, nb_arena *arena, size_t *pickle, nb_error *err) {
    size_t found = 0;
    for (size_t i = 0; i < nb_zip_count(a->zip); i++) {
        const char *name = nb_zip_name(a->zip, i), *slash = strchr(name, '/');
        if (strcmp(slash ? slash + 1 : name, "data.pkl") != 0) continue;
        *pickle = i;
        found++;
    }
    if (found != 1)
        return nb_fail(err, NB_FORMAT,
                       found ? "the zip archive has two entries 'data.pkl'"
                             : "the zip archive has no entry 'data.pkl': not saved by torch.save");
    const char *name = nb_zip_name(a->zip, *pickle);
    a->dir = nb_arena_text(arena, name, strlen(name) - strlen("data.pkl"));
    return a->dir ? NB_OK : nb_arena_failed(arena, err);
}

static nb_status check_byteorder(const archive *a, nb_error *err) {
    char path[600];
    size_t i;
    if ((size_t)snprintf(path, sizeof path, "%sbyteorder", a->dir) >= sizeof path || !nb_zip_find(a->zip, path, &i))
        return NB_OK;
    char order[7] = "";
    size_t n = nb_zip_size(a->zip, i) < 6 ? (size_t)nb_zip_size(a->zip, i) : 6;
    nb_status st = nb_zip_read(a->zip, i, 0, n, order, err);
    if (!st && strcmp(order, "little") != 0)
        st = nb_fail(err, NB_UNSUPPORTED, "its numbers are stored in byte order '%s', expected 'little'",
                     strcmp(order, "big") ? "?" : "big");
    return st;
}

static nb_status read_tree(archive *a, nb_arena *arena, const nb_value **top, nb_error *err) {
    nb_buf pickle = {0};
    size_t i = 0;
    nb_status st = find_dir(a, arena, &i, err);
    if (!st) st = check_byteorder(a, err);
    if (!st) st = nb_zip_read_all(a->zip, i, NB_PICKLE_MAX_BYTES, &pickle, err);
    if (!st) {
        st = nb_pickle_run(pickle.data, pickle.size, arena, top, NULL, err);
        if (st) nb_context(err, st, "data.pkl");
    }
    nb_buf_free(&pickle);
    return st;
}

nb_status nb_torch_zip_open(nb_torch_archive **archive_, const char *path, nb_arena *arena, const nb_value **top,
                            nb_error *err) {
    static const nb_torch_archive_ops ops = {find_storage, read_storage, close_archive};
    archive *a = nb_calloc(1, sizeof *a);
    *archive_ = NULL;
    if (!a) return nb_oom(err, "a checkpoint", sizeof *a);
    a->base.ops = &ops;
    nb_status st = nb_zip_open(&a->zip, path, err); /* the sentence names the file */
    if (!st) {
        a->base.file = nb_zip_file(a->zip);
        st = read_tree(a, arena, top, err);
        if (st) nb_context(err, st, "'%s'", path);
    }
    if (st) close_archive(&a->base);
    else *archive_ = &a->base;
    return st;
}
