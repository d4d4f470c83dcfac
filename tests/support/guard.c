#include "tests/support/guard.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/unit.h"

guard guard_new(size_t size, guard_side side) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (size / page + 1) * page;
    guard g = {.map_size = body + 2 * page};
    g.map = mmap(NULL, g.map_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.map != MAP_FAILED);
    uint8_t *start = (uint8_t *)g.map + page;
    assert_int_equal(mprotect(start, body, PROT_READ | PROT_WRITE), 0);
    g.data = side == GUARD_BEFORE ? start : start + body - size;
    return g;
}

void guard_free(guard *g) {
    munmap(g->map, g->map_size);
    *g = (guard){0};
}
