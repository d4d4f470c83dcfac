/* The atomic replacement of base/file.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/checked.h"
#include "base/file.h"
#include "base/mem.h"

/* Named temporaries that must not outlive the process. Mutable state, because a signal handler has no other way to
 * find them. Whoever takes a pointer out of its slot (by an atomic exchange) owns it: a handler that took one leaves
 * nothing for the interrupted thread to free. */
enum { REGISTRY_SLOTS = 64, NAME_ATTEMPTS = 64, SYNC_STEP = 32 << 20 };
static _Atomic(char *) registry[REGISTRY_SLOTS];

static atomic_bool named_only; /* see nb_replace_named_only */

void nb_replace_named_only(bool on) {
    atomic_store(&named_only, on);
}

static bool remember(char *path) {
    for (size_t i = 0; i < REGISTRY_SLOTS; i++) {
        char *empty = NULL;
        if (atomic_compare_exchange_strong(&registry[i], &empty, path)) return true;
    }
    return false;
}

/* Take the path back from the registry and free it, unless a signal handler has it. */
static void forget(char *path) {
    for (size_t i = 0; i < REGISTRY_SLOTS; i++) {
        char *expected = path;
        if (atomic_compare_exchange_strong(&registry[i], &expected, NULL)) {
            nb_free(path);
            return;
        }
    }
}

void nb_replace_abandon_all(void) {
    for (size_t i = 0; i < REGISTRY_SLOTS; i++) {
        char *path = atomic_exchange(&registry[i], NULL);
        if (path) unlink(path);
    }
}

/* The directory part of a path, with its slash; "./" for a bare name. */
static size_t directory_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

static char *directory_of(const char *path) {
    size_t n = directory_length(path);
    return n ? nb_strndup(path, n) : nb_strdup("./");
}

/* A name beside `target` that nobody else uses: time, process and a counter, mixed. O_EXCL settles what is left. */
static char *sibling_name(const char *target) {
    static atomic_uint counter;
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t mix = (uint64_t)now.tv_sec * 1000000007u ^ (uint64_t)now.tv_nsec << 20 ^ (uint64_t)getpid() << 40;
    mix = (mix + atomic_fetch_add(&counter, 1)) * UINT64_C(0x9E3779B97F4A7C15);
    mix ^= mix >> 29;
    size_t n = directory_length(target);
    nb_buf name = {0};
    nb_buf_append(&name, target, n);
    nb_buf_printf(&name, ".nibble-%016" PRIx64 ".tmp", mix);
    if (!name.failed) return (char *)name.data; /* nb_free releases it like any other allocation */
    nb_buf_free(&name);
    return NULL;
}

#if defined(__linux__) && defined(O_TMPFILE)
/* A file without a name gets one through /proc, so without /proc it would be of no use. */
static int open_unnamed(const char *directory) {
    if (atomic_load(&named_only) || access("/proc/self/fd", X_OK) != 0) return -1;
    return open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
}

static int name_unnamed(int fd, const char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, link, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}
#else
static int open_unnamed(const char *directory) {
    (void)directory;
    return -1;
}

static int name_unnamed(int fd, const char *path) {
    (void)fd;
    (void)path;
    errno = ENOTSUP;
    return -1;
}
#endif

#if defined(__APPLE__)
/* fsync only reaches the drive's cache there; file systems without F_FULLFSYNC have fsync. */
static int sync_file(int fd) {
    return fcntl(fd, F_FULLFSYNC) == 0 ? 0 : fsync(fd);
}
#else
static int sync_file(int fd) {
    return fsync(fd);
}
#endif

/* Begin to write [from, to) to the disk, so that the commit need not wait for all of it. A hint. */
#if defined(SYNC_FILE_RANGE_WRITE)
static void begin_sync(int fd, uint64_t from, uint64_t to) {
    (void)sync_file_range(fd, (off_t)from, (off_t)(to - from), SYNC_FILE_RANGE_WRITE);
}
#else
static void begin_sync(int fd, uint64_t from, uint64_t to) { (void)fd, (void)from, (void)to; }
#endif

static nb_status exists_already(const char *target, nb_error *err) {
    return nb_fail(err, NB_ARGUMENT, "'%s' exists already; --force replaces it", target);
}

/* Give the file a registered hidden name beside the target: by creating it (fd -1) or by naming an unnamed one. */
static nb_status take_hidden_name(nb_replace *r, nb_error *err) {
    for (int attempt = 0; attempt < NAME_ATTEMPTS; attempt++) {
        char *name = sibling_name(r->target);
        if (!name) return nb_oom(err, "name of a temporary file", strlen(r->target));
        /* Registered first: a signal between creation and registration would leave a stray file. */
        if (!remember(name)) {
            nb_free(name);
            return nb_fail(err, NB_LIMIT, "cannot write '%s': %d files are being written already", r->target, REGISTRY_SLOTS);
        }
        int done = r->fd >= 0 ? name_unnamed(r->fd, name) : open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        int reason = errno;
        if (done >= 0) {
            if (r->fd < 0) r->fd = done;
            r->temporary = name;
            return NB_OK;
        }
        forget(name);
        if (reason != EEXIST && reason != EINTR) return nb_fail_errno(err, reason, "cannot create a file beside '%s'", r->target);
    }
    return nb_fail(err, NB_IO, "cannot find a free name beside '%s'", r->target);
}

/* The path to replace: what a link points at, so that a link stays a link. */
static nb_status resolve_target(nb_replace *r, const char *target, nb_error *err) {
    struct stat st;
    char *real = lstat(target, &st) == 0 && S_ISLNK(st.st_mode) ? realpath(target, NULL) : NULL;
    r->target = nb_strdup(real ? real : target);
    free(real);
    if (!r->target) return nb_oom(err, "path", strlen(target));
    if (!*target || target[strlen(target) - 1] == '/')
        return nb_fail(err, NB_ARGUMENT, "cannot write '%s': it does not name a file", target);
    if (stat(r->target, &st) != 0) return NB_OK;
    if (!S_ISREG(st.st_mode)) return nb_fail(err, NB_ARGUMENT, "cannot replace '%s': it is not a regular file", target);
    return r->overwrite ? NB_OK : exists_already(target, err);
}

static nb_status open_temporary(nb_replace *r, nb_error *err) {
    char *directory = directory_of(r->target);
    if (!directory) return nb_oom(err, "path", strlen(r->target));
    r->fd = open_unnamed(directory);
    nb_free(directory);
    return r->fd >= 0 ? NB_OK : take_hidden_name(r, err);
}

nb_status nb_replace_begin(nb_replace *r, const char *target, bool overwrite, nb_error *err) {
    *r = (nb_replace){.fd = -1, .overwrite = overwrite};
    nb_status status = resolve_target(r, target, err);
    if (!status) status = open_temporary(r, err);
    if (status) nb_replace_abandon(r);
    return status;
}

nb_status nb_replace_write_at(nb_replace *r, uint64_t offset, const void *bytes, size_t n, nb_error *err) {
    enum { STEP = 1 << 30 }; /* some systems refuse to write more than INT_MAX bytes at once */
    const uint8_t *p = bytes;
    uint64_t end = 0;
    if (!nb_add_u64(offset, n, &end) || end > INT64_MAX)
        return nb_fail(err, NB_LIMIT, "cannot write '%s': the file would be too long", r->target);
    while (n) {
        ssize_t done = pwrite(r->fd, p, nb_min_size(n, STEP), (off_t)offset);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return nb_fail_errno(err, errno, "cannot write '%s'", r->target);
        p += done;
        n -= (size_t)done;
        offset += (uint64_t)done;
    }
    return NB_OK;
}

nb_status nb_replace_write(nb_replace *r, const void *bytes, size_t n, nb_error *err) {
    off_t end = lseek(r->fd, 0, SEEK_END);
    if (end < 0) return nb_fail_errno(err, errno, "cannot write '%s'", r->target);
    nb_status status = nb_replace_write_at(r, (uint64_t)end, bytes, n, err);
    uint64_t begun = (uint64_t)end / SYNC_STEP * SYNC_STEP, due = ((uint64_t)end + n) / SYNC_STEP * SYNC_STEP;
    if (!status && due > begun) begin_sync(r->fd, begun, due);
    return status;
}

/* Give a hidden file the target's name when there must be none yet. link() refuses an existing name atomically; file
 * systems without hard links get a look and a rename. */
static nb_status claim_name(nb_replace *r, nb_error *err) {
    if (link(r->temporary, r->target) == 0) {
        unlink(r->temporary);
        return NB_OK;
    }
    struct stat st;
    if (errno == EEXIST || lstat(r->target, &st) == 0) return exists_already(r->target, err);
    if (rename(r->temporary, r->target) == 0) return NB_OK;
    return nb_fail_errno(err, errno, "cannot create '%s'", r->target);
}

static nb_status put_in_place(nb_replace *r, nb_error *err) {
    if (!r->temporary) {
        if (name_unnamed(r->fd, r->target) == 0) return NB_OK;
        if (errno != EEXIST) return nb_fail_errno(err, errno, "cannot create '%s'", r->target);
        if (!r->overwrite) return exists_already(r->target, err);
        nb_status status = take_hidden_name(r, err);
        if (status) return status;
    }
    if (!r->overwrite) return claim_name(r, err);
    if (rename(r->temporary, r->target) == 0) return NB_OK;
    return nb_fail_errno(err, errno, "cannot replace '%s'", r->target);
}

/* Make the new directory entry durable. Not every file system can sync a directory, nor every directory be opened. */
static nb_status sync_directory(const char *directory, nb_error *err) {
    int fd = open(directory, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NB_OK;
    int reason = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return reason == EIO ? nb_fail_errno(err, reason, "cannot sync the directory '%s'", directory) : NB_OK;
}

nb_status nb_replace_commit(nb_replace *r, nb_error *err) {
    char *directory = directory_of(r->target); /* now: once the name is given, lack of memory must not be a failure */
    nb_status status = directory ? NB_OK : nb_oom(err, "path", strlen(r->target));
    if (!status && sync_file(r->fd) != 0) status = nb_fail_errno(err, errno, "cannot write '%s'", r->target);
    if (!status) status = put_in_place(r, err);
    if (!status) {
        if (r->temporary) forget(r->temporary);
        r->temporary = NULL;
        status = sync_directory(directory, err);
    }
    nb_free(directory);
    nb_replace_abandon(r);
    return status;
}

void nb_replace_abandon(nb_replace *r) {
    if (!r || !r->target) return; /* zeroed, abandoned or committed: descriptor 0 is not ours */
    if (r->fd >= 0) close(r->fd);
    if (r->temporary) {
        unlink(r->temporary);
        forget(r->temporary);
    }
    nb_free(r->target);
    *r = (nb_replace){.fd = -1};
}
