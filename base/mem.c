#include "base/mem.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/checked.h"

/* Failure injection, the one mutable state of this file; see nb_mem_fail_at. */
static atomic_long fail_countdown = -1;
static atomic_long counted;

/* Count an allocation; true when it is the one that a test wants to fail. */
static bool must_fail(void) {
    atomic_fetch_add_explicit(&counted, 1, memory_order_relaxed);
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) < 0) return false;
    return atomic_fetch_sub_explicit(&fail_countdown, 1, memory_order_relaxed) == 0;
}

long nb_mem_fail_at(long n) {
    atomic_store(&fail_countdown, n < 0 ? -1 : n);
    return atomic_exchange(&counted, 0);
}

static void *allocate(size_t bytes) {
    void *p = NULL;
    if (must_fail() || posix_memalign(&p, NB_ALIGN, bytes ? bytes : 1) != 0) return NULL;
    return p;
}

void *nb_alloc(size_t bytes) {
    return allocate(bytes);
}

void *nb_calloc(size_t count, size_t size) {
    size_t bytes = 0;
    if (!nb_mul_size(count, size, &bytes)) return NULL;
    void *p = allocate(bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

/* realloc() would lose the alignment, so the bytes always move; buffers that grow do so by doubling. */
void *nb_realloc(void *p, size_t old_bytes, size_t new_bytes) {
    void *q = allocate(new_bytes);
    if (!q) return NULL;
    size_t kept = nb_min_size(old_bytes, new_bytes);
    if (p && kept) memcpy(q, p, kept);
    nb_free(p);
    return q;
}

char *nb_strdup(const char *text) {
    return nb_strndup(text, strlen(text));
}

char *nb_strndup(const char *text, size_t n) {
    size_t bytes = 0;
    if (!nb_add_size(n, 1, &bytes)) return NULL;
    char *copy = allocate(bytes);
    if (!copy) return NULL;
    if (n) memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}

void nb_free(void *p) {
    free(p);
}

nb_status (nb_oom)(nb_error *err, const char *what, size_t bytes) {
    return nb_fail(err, NB_MEMORY, "out of memory: %s, %zu bytes", what, bytes);
}

/* Two megabytes is the huge page of x86-64 and of ARM64 with 4 KB pages; elsewhere the alignment does no harm. */
enum { HUGE_PAGE = 2 << 20 };

#if defined(__linux__)
static void ask_for_huge_pages(void *data, size_t size) {
    (void)madvise(data, size, MADV_HUGEPAGE); /* a wish: kernels built without huge pages refuse it */
}
#else
static void ask_for_huge_pages(void *data, size_t size) {
    (void)data;
    (void)size;
}
#endif

/* Map `size` bytes (whole pages) at a multiple of `align` (whole pages), by mapping more and returning the ends. */
static void *map_aligned(size_t size, size_t align, int flags) {
    size_t total = 0;
    if (!nb_add_size(size, align, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    uint8_t *p = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (p == MAP_FAILED) return NULL;
    size_t head = (align - (uintptr_t)p % align) % align;
    if (head) munmap(p, head);
    if (total - head - size) munmap(p + head + size, total - head - size);
    return p + head;
}

/* A region that fills at least half of a huge page is worth a whole one. */
static bool is_large(size_t bytes) { return bytes >= HUGE_PAGE / 2; }

static size_t mapped_bytes(size_t bytes) {
    long page = sysconf(_SC_PAGESIZE);
    return nb_round_up(bytes ? bytes : 1, is_large(bytes) ? HUGE_PAGE : page > 0 ? (size_t)page : 4096);
}

static nb_status map_region(nb_region *region, size_t bytes, int flags, const char *what, nb_error *err) {
    *region = (nb_region){0};
    if (bytes > SIZE_MAX / 2 || must_fail()) return nb_oom(err, what, bytes);
    size_t size = mapped_bytes(bytes);
    void *data = map_aligned(size, is_large(bytes) ? HUGE_PAGE : mapped_bytes(1), flags);
    if (!data) return nb_oom(err, what, bytes);
    if (is_large(bytes)) ask_for_huge_pages(data, size);
    *region = (nb_region){.data = data, .size = bytes};
    return NB_OK;
}

nb_status nb_region_alloc(nb_region *region, size_t bytes, const char *what, nb_error *err) {
    return map_region(region, bytes, 0, what, err);
}

#if defined(MAP_NORESERVE)
enum { NO_RESERVE = MAP_NORESERVE };
#else
enum { NO_RESERVE = 0 };
#endif

nb_status nb_region_reserve(nb_region *region, size_t bytes, const char *what, nb_error *err) {
    return map_region(region, bytes, NO_RESERVE, what, err);
}

void nb_region_free(nb_region *region) {
    if (!region || !region->data) return;
    munmap(region->data, mapped_bytes(region->size));
    *region = (nb_region){0};
}
