#include "tests/support/unit.h"

#include <dirent.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

bool unit_quick(void) {
    static bool said;
    const char *value = getenv("NIBBLE_TEST_QUICK");
    bool quick = value && *value && strcmp(value, "0") != 0;
    if (quick && !said) print_message("NIBBLE_TEST_QUICK is set: fewer cases\n");
    said = quick;
    return quick;
}

char *unit_scratch_new(void) {
    const char *parent = getenv("TMPDIR");
    char *path = malloc(UNIT_PATH);
    assert_non_null(path);
    unit_path(path, parent && *parent ? parent : "/tmp", "nibble-test-XXXXXX");
    assert_non_null(mkdtemp(path));
    return path;
}

static void remove_tree(const char *path) {
    DIR *d = opendir(path);
    if (!d) {
        unlink(path);
        return;
    }
    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        char child[UNIT_PATH];
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        unit_path(child, path, e->d_name);
        if (lstat(child, &st) == 0 && S_ISDIR(st.st_mode)) remove_tree(child);
        else unlink(child);
    }
    closedir(d);
    rmdir(path);
}

void unit_scratch_free(char *directory) {
    remove_tree(directory);
    free(directory);
}

int unit_scratch_setup(void **state) {
    *state = unit_scratch_new();
    return 0;
}

int unit_scratch_teardown(void **state) {
    unit_scratch_free(*state);
    return 0;
}

const char *unit_path(char buffer[UNIT_PATH], const char *directory, const char *name) {
    int n = snprintf(buffer, UNIT_PATH, "%s/%s", directory, name);
    assert_in_range(n, 0, UNIT_PATH - 1);
    return buffer;
}

int unit_count_entries(const char *directory) {
    DIR *d = opendir(directory);
    assert_non_null(d);
    int n = 0;
    for (const struct dirent *e = readdir(d); e; e = readdir(d))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) n++;
    closedir(d);
    return n;
}

void unit_write_file(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    if (n) assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

void unit_assert_file(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    uint8_t *found = malloc(n + 1);
    assert_non_null(found);
    assert_int_equal(fread(found, 1, n + 1, f), n);
    if (n) assert_memory_equal(found, bytes, n);
    free(found);
    fclose(f);
}

uint64_t unit_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

uint64_t unit_seed(void) {
    const char *given = getenv("NIBBLE_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    print_message("NIBBLE_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

double unit_random_between(uint64_t *state, double low, double high) {
    return low + (high - low) * ((double)(unit_random(state) >> 11) * 0x1p-53);
}
