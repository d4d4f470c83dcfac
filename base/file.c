#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/checked.h"
#include "base/mem.h"

/* `more`: O_NONBLOCK where only a regular file will do, lest a pipe without a writer is waited for. */
static int open_for_reading(const char *path, int more) {
    int fd;
    do fd = open(path, O_RDONLY | O_CLOEXEC | more);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static nb_status map_descriptor(nb_map *map, int fd, const char *path, nb_error *err) {
    struct stat st;
    if (fstat(fd, &st) != 0) return nb_fail_errno(err, errno, "cannot examine '%s'", path);
    if (S_ISDIR(st.st_mode)) return nb_fail(err, NB_IO, "cannot read '%s': it is a directory", path);
    if (!S_ISREG(st.st_mode)) return nb_fail(err, NB_IO, "cannot map '%s': it is not a regular file", path);
    uint64_t bytes = (uint64_t)st.st_size;
    if (bytes > SIZE_MAX / 2)
        return nb_fail(err, NB_LIMIT, "'%s' has %llu bytes, more than this system can map", path, (unsigned long long)bytes);
    if (bytes == 0) {
        map->data = (const uint8_t *)"";
        return NB_OK;
    }
    void *p = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) return nb_fail_errno(err, errno, "cannot map '%s'", path);
    *map = (nb_map){.data = p, .size = (size_t)bytes};
    return NB_OK;
}

nb_status nb_map_open(nb_map *map, const char *path, nb_error *err) {
    *map = (nb_map){0};
    int fd = open_for_reading(path, O_NONBLOCK);
    if (fd < 0) return nb_fail_errno(err, errno, "cannot open '%s'", path);
    nb_status status = map_descriptor(map, fd, path, err);
    close(fd);
    return status;
}

void nb_map_close(nb_map *map) {
    if (!map) return;
    /* munmap wants a pointer to non-const, though the pages are read-only. */
    if (map->size) munmap((void *)(uintptr_t)map->data, map->size);
    *map = (nb_map){0};
}

void nb_map_release(const nb_map *map, size_t offset, size_t length) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), from = offset / page * page, to = offset + length;
    if (to < map->size) to = to / page * page; /* the last page's end belongs to what follows */
    if (from < to) (void)madvise((void *)(uintptr_t)(map->data + from), to - from, MADV_DONTNEED);
}

static nb_status read_descriptor(int fd, const char *name, size_t limit, nb_buf *out, nb_error *err) {
    enum { STEP = 1 << 16 };
    size_t total = 0;
    for (;;) {
        size_t before = out->size;
        uint8_t *p = nb_buf_extend(out, STEP);
        if (!p) return nb_fail(err, NB_MEMORY, "out of memory: reading '%s', %zu bytes so far", name, total);
        ssize_t n = read(fd, p, STEP);
        int reason = errno;
        out->size = before + (n > 0 ? (size_t)n : 0);
        out->data[out->size] = 0;
        if (n == 0) return NB_OK;
        if (n < 0 && reason == EINTR && fd == STDIN_FILENO) return nb_fail(err, NB_CANCELLED, "reading standard input was interrupted");
        if (n < 0 && reason != EINTR) return nb_fail_errno(err, reason, "cannot read '%s'", name);
        if (n > 0) total += (size_t)n;
        if (total > limit) return nb_fail(err, NB_LIMIT, "'%s' has more than %zu bytes", name, limit);
    }
}

nb_status nb_read_file(const char *path, size_t limit, nb_buf *out, nb_error *err) {
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open_for_reading(path, 0);
    if (fd < 0) return nb_fail_errno(err, errno, "cannot open '%s'", path);
    size_t before = out->size;
    nb_status status = read_descriptor(fd, standard ? "standard input" : path, limit, out, err);
    if (status && out->data) {
        out->size = before;
        out->data[before] = 0;
    }
    if (!standard) close(fd);
    return status;
}

nb_status nb_file_open(nb_file *f, const char *path, nb_error *err) {
    struct stat st;
    *f = (nb_file){.fd = open_for_reading(path, O_NONBLOCK)};
    if (f->fd < 0) return nb_fail_errno(err, errno, "'%s' cannot be opened", path);
    nb_status status = NB_OK;
    if (fstat(f->fd, &st) != 0) status = nb_fail_errno(err, errno, "cannot examine '%s'", path);
    else if (!S_ISREG(st.st_mode)) status = nb_fail(err, NB_IO, "cannot read '%s': it is not a regular file", path);
    else if (!(f->path = nb_strdup(path))) status = nb_oom(err, "a path", strlen(path));
    if (status) {
        close(f->fd);
        *f = (nb_file){0};
        return status;
    }
    f->size = (uint64_t)st.st_size;
    return NB_OK;
}

nb_status nb_file_read(const nb_file *f, uint64_t offset, size_t n, void *dst, nb_error *err) {
    uint8_t *to = dst;
    const uint64_t first = offset;
    const size_t all = n;
    if (!nb_range_ok(offset, n, f->size))
        return nb_fail(err, NB_TRUNCATED, "'%s' has %llu bytes, %zu more are needed from byte %llu", f->path,
                       (unsigned long long)f->size, n, (unsigned long long)offset);
    while (n) {
        ssize_t got = pread(f->fd, to, n, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return nb_fail_errno(err, errno, "'%s' cannot be read", f->path);
        if (got == 0) return nb_fail(err, NB_TRUNCATED, "'%s' became shorter while it was read", f->path);
        to += got;
        offset += (uint64_t)got;
        n -= (size_t)got;
    }
    if (f->tap.see) f->tap.see(f->tap.user, first, dst, all);
    return NB_OK;
}

#if defined(POSIX_FADV_WILLNEED)
void nb_file_expect(const nb_file *f, uint64_t offset, uint64_t n) {
    enum { PIECE = 1 << 20 }; /* longer wishes are cut short */
    uint64_t left = offset < f->size ? f->size - offset : 0;
    for (n = n < left ? n : left; n;) {
        uint64_t piece = n < PIECE ? n : PIECE;
        (void)posix_fadvise(f->fd, (off_t)offset, (off_t)piece, POSIX_FADV_WILLNEED);
        offset += piece;
        n -= piece;
    }
}
#else
void nb_file_expect(const nb_file *f, uint64_t offset, uint64_t n) { (void)f, (void)offset, (void)n; }
#endif

void nb_file_close(nb_file *f) {
    if (f->path) close(f->fd);
    nb_free(f->path);
    *f = (nb_file){0};
}

bool nb_is_directory(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool nb_file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}
