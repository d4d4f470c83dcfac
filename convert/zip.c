#include "convert/zip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>
#include "base/checked.h"
#include "base/mem.h"

typedef struct entry {
    const char *name; /* libzip's */
    uint64_t size;
    size_t index; /* libzip's number: entries here are sorted by name */
    bool stored;
} entry;

struct nb_zip {
    nb_file disk;
    uint64_t at;      /* where libzip stands in it */
    zip_error_t why;  /* of what libzip asked for last */
    zip_t *archive;
    entry *entries; /* [count], by name */
    size_t count;
    zip_file_t *file; /* of entry `opened`, or NULL */
    size_t opened;
    uint64_t position;
    uint8_t *unpacked; /* the bytes of deflated entry `opened`, or NULL */
};

static nb_status entry_failed(nb_error *err, nb_status st, const char *entry_name, const char *why) {
    return nb_fail(err, st, "entry '%s': %s", entry_name, why);
}

static int by_name(const void *a, const void *b) { return strcmp(((const entry *)a)->name, ((const entry *)b)->name); }

/* A name that a terminal can show. */
static bool plain_name(const char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f) return false;
    return true;
}

static nb_status check_entry(nb_zip *z, size_t i, uint64_t file_bytes, nb_error *err) {
    zip_stat_t s;
    const zip_uint64_t wanted =
        ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if (zip_stat_index(z->archive, i, 0, &s) || (s.valid & wanted) != wanted)
        return nb_fail(err, NB_FORMAT, "the directory of the zip file is damaged at entry %zu", i);
    if (!plain_name(s.name)) return nb_fail(err, NB_FORMAT, "the name of entry %zu holds control characters", i);
    if (s.encryption_method != ZIP_EM_NONE) return entry_failed(err, NB_UNSUPPORTED, s.name, "it is encrypted");
    if (s.comp_method != ZIP_CM_STORE && s.comp_method != ZIP_CM_DEFLATE)
        return entry_failed(err, NB_UNSUPPORTED, s.name, "it is compressed in a way that torch never uses");
    z->entries[i] = (entry){.name = s.name, .size = s.size, .index = i, .stored = s.comp_method == ZIP_CM_STORE};
    if (s.comp_size > file_bytes || (z->entries[i].stored && s.size != s.comp_size))
        return entry_failed(err, NB_FORMAT, s.name, "its size is more than the file holds");
    return NB_OK;
}

static nb_status read_directory(nb_zip *z, uint64_t file_bytes, nb_error *err) {
    zip_int64_t n = zip_get_num_entries(z->archive, 0);
    if (n < 0 || n > NB_ZIP_MAX_ENTRIES)
        return nb_fail(err, NB_LIMIT, "it has %lld entries, at most %d are read", (long long)n, NB_ZIP_MAX_ENTRIES);
    z->count = (size_t)n;
    z->entries = nb_calloc(z->count ? z->count : 1, sizeof *z->entries);
    if (!z->entries) return nb_oom(err, "the directory of a zip file", z->count * sizeof *z->entries);
    for (size_t i = 0; i < z->count; i++) {
        nb_status st = check_entry(z, i, file_bytes, err);
        if (st) return st;
    }
    qsort(z->entries, z->count, sizeof *z->entries, by_name);
    for (size_t i = 1; i < z->count; i++)
        if (!strcmp(z->entries[i - 1].name, z->entries[i].name))
            return entry_failed(err, NB_FORMAT, z->entries[i].name, "it is in the archive twice");
    return NB_OK;
}

/* libzip's view of the file: everything goes through nb_file_read, so that what is read is seen. */
static zip_int64_t serve(void *user, void *data, zip_uint64_t n, zip_source_cmd_t command) {
    nb_zip *z = user;
    zip_int64_t to;
    nb_error err;
    switch ((int)command) { /* the others are for writing */
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT,
                                              ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL,
                                              ZIP_SOURCE_SUPPORTS, -1);
    case ZIP_SOURCE_OPEN: z->at = 0; return 0;
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE: return 0;
    case ZIP_SOURCE_TELL: return (zip_int64_t)z->at;
    case ZIP_SOURCE_ERROR: return zip_error_to_data(&z->why, data, n);
    case ZIP_SOURCE_READ:
        if (n > z->disk.size - z->at) n = z->disk.size - z->at;
        if (nb_file_read(&z->disk, z->at, (size_t)n, data, &err)) break;
        z->at += n;
        return (zip_int64_t)n;
    case ZIP_SOURCE_SEEK:
        to = zip_source_seek_compute_offset(z->at, z->disk.size, data, n, &z->why);
        if (to >= 0) z->at = (uint64_t)to;
        return to < 0 ? -1 : 0;
    case ZIP_SOURCE_STAT:
        zip_stat_init(data);
        ((zip_stat_t *)data)->size = z->disk.size;
        ((zip_stat_t *)data)->valid = ZIP_STAT_SIZE;
        return sizeof(zip_stat_t);
    default: zip_error_set(&z->why, ZIP_ER_OPNOTSUPP, 0); return -1;
    }
    zip_error_set(&z->why, ZIP_ER_READ, EIO);
    return -1;
}

static nb_status open_archive(nb_zip *z, nb_error *err) {
    zip_error_t why;
    zip_error_init(&why);
    zip_source_t *source = zip_source_function_create(serve, z, &why);
    z->archive = source ? zip_open_from_source(source, ZIP_RDONLY, &why) : NULL;
    nb_status st = z->archive ? NB_OK
                   : zip_error_code_zip(&why) == ZIP_ER_MEMORY
                       ? nb_oom(err, "a zip file", 0)
                       : nb_fail(err, NB_FORMAT, "it is not a whole zip file (%s)", zip_error_strerror(&why));
    if (!z->archive && source) zip_source_free(source);
    zip_error_fini(&why);
    return st;
}

nb_status nb_zip_open(nb_zip **zip, const char *path, nb_error *err) {
    nb_zip *z = nb_calloc(1, sizeof *z);
    *zip = NULL;
    if (!z) return nb_oom(err, "a zip file", sizeof *z);
    zip_error_init(&z->why);
    nb_status st = nb_file_open(&z->disk, path, err);
    if (!st) {
        st = open_archive(z, err);
        if (!st) st = read_directory(z, z->disk.size, err);
        if (st) nb_context(err, st, "'%s'", path);
    }
    if (st) nb_zip_close(z);
    else *zip = z;
    return st;
}

nb_file *nb_zip_file(nb_zip *z) { return &z->disk; }

static void close_entry(nb_zip *z) {
    if (z->file) zip_fclose(z->file);
    nb_free(z->unpacked);
    z->file = NULL;
    z->unpacked = NULL;
}

void nb_zip_close(nb_zip *z) {
    if (!z) return;
    close_entry(z);
    if (z->archive) zip_discard(z->archive);
    zip_error_fini(&z->why);
    nb_file_close(&z->disk);
    nb_free(z->entries);
    nb_free(z);
}

size_t nb_zip_count(const nb_zip *z) { return z->count; }
const char *nb_zip_name(const nb_zip *z, size_t i) { return z->entries[i].name; }
uint64_t nb_zip_size(const nb_zip *z, size_t i) { return z->entries[i].size; }

bool nb_zip_find(const nb_zip *z, const char *name, size_t *i) {
    const entry key = {.name = name}, *found = bsearch(&key, z->entries, z->count, sizeof key, by_name);
    if (found) *i = (size_t)(found - z->entries);
    return found != NULL;
}

static nb_status read_exactly(nb_zip *z, const entry *e, void *dst, uint64_t n, nb_error *err) {
    zip_int64_t got = zip_fread(z->file, dst, n);
    if (got < 0) return entry_failed(err, NB_FORMAT, e->name, zip_error_strerror(zip_file_get_error(z->file)));
    if ((uint64_t)got != n) return entry_failed(err, NB_TRUNCATED, e->name, "it ends too early");
    return NB_OK;
}

static nb_status unpack(nb_zip *z, const entry *e, nb_error *err) {
    if (e->size > NB_ZIP_MAX_UNPACKED)
        return entry_failed(err, NB_LIMIT, e->name,
                            "it is compressed and large; torch.save stores entries uncompressed, save it again");
    z->unpacked = nb_alloc((size_t)e->size);
    if (!z->unpacked) return nb_oom(err, "a compressed entry", (size_t)e->size);
    return read_exactly(z, e, z->unpacked, e->size, err);
}

/* Make entry i the opened one. Stored entries are opened as raw data: libzip can seek in those, and its checksum of a
 * whole entry means nothing to a read of a part. */
static nb_status open_entry(nb_zip *z, size_t i, nb_error *err) {
    const entry *e = &z->entries[i];
    if (z->file && z->opened == i) return NB_OK;
    close_entry(z);
    z->file = zip_fopen_index(z->archive, e->index, e->stored ? ZIP_FL_COMPRESSED : 0);
    if (!z->file) return entry_failed(err, NB_FORMAT, e->name, zip_strerror(z->archive));
    z->opened = i;
    z->position = 0;
    nb_status st = e->stored ? NB_OK : unpack(z, e, err);
    if (st) close_entry(z);
    return st;
}

nb_status nb_zip_read(nb_zip *z, size_t i, uint64_t offset, size_t n, void *dst, nb_error *err) {
    const entry *e = &z->entries[i];
    if (!nb_range_ok(offset, n, e->size))
        return nb_fail(err, NB_TRUNCATED, "entry '%s' has %llu bytes, %zu more are needed from byte %llu", e->name,
                       (unsigned long long)e->size, n, (unsigned long long)offset);
    nb_status st = open_entry(z, i, err);
    if (st || !n) return st;
    if (z->unpacked) {
        memcpy(dst, z->unpacked + offset, n);
        return NB_OK;
    }
    if (offset != z->position && zip_fseek(z->file, (zip_int64_t)offset, SEEK_SET))
        return entry_failed(err, NB_IO, e->name, zip_error_strerror(zip_file_get_error(z->file)));
    st = read_exactly(z, e, dst, n, err);
    z->position = offset + n;
    if (st) close_entry(z);
    return st;
}

nb_status nb_zip_read_all(nb_zip *z, size_t i, size_t limit, nb_buf *out, nb_error *err) {
    const entry *e = &z->entries[i];
    if (e->size > limit)
        return nb_fail(err, NB_LIMIT, "entry '%s' holds %llu bytes, at most %zu are read", e->name,
                       (unsigned long long)e->size, limit);
    uint8_t *dst = nb_buf_extend(out, (size_t)e->size);
    if (!dst) return nb_oom(err, "an entry of a zip file", (size_t)e->size);
    return nb_zip_read(z, i, 0, (size_t)e->size, dst, err);
}
