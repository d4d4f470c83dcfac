#include "tests/support/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"

typedef struct fixture {
    char *directory;
    char target[UNIT_PATH];
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    if (!f) return -1;
    f->directory = unit_scratch_new();
    unit_path(f->target, f->directory, "target");
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    nb_replace_named_only(false);
    nb_mem_fail_at(-1);
    unit_scratch_free(f->directory);
    free(f);
    return 0;
}

static void maps_and_reads_files(void **state) {
    const fixture *f = *state;
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 65535, 65536, 65537, 300000};
    uint8_t *bytes = malloc(300000);
    assert_non_null(bytes);
    for (size_t i = 0; i < 300000; i++) bytes[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        unit_write_file(f->target, bytes, sizes[i]);
        nb_map map;
        nb_error err;
        assert_int_equal(nb_map_open(&map, f->target, &err), NB_OK);
        assert_non_null(map.data);
        assert_int_equal(map.size, sizes[i]);
        if (sizes[i]) assert_memory_equal(map.data, bytes, sizes[i]);
        nb_map_close(&map);
        nb_map_close(&map);
        nb_buf b = {0};
        nb_buf_text(&b, "head");
        assert_int_equal(nb_read_file(f->target, sizes[i], &b, &err), NB_OK); /* exactly the limit */
        assert_int_equal(b.size, 4 + sizes[i]);
        assert_memory_equal(b.data, "head", 4);
        if (sizes[i]) assert_memory_equal(b.data + 4, bytes, sizes[i]);
        if (sizes[i]) {
            assert_int_equal(nb_read_file(f->target, sizes[i] - 1, &b, &err), NB_LIMIT);
            assert_int_equal(b.size, 4 + sizes[i]); /* what it had */
            assert_int_equal(b.data[b.size], 0);
        }
        nb_buf_free(&b);
    }
    free(bytes);
    nb_map_close(NULL);
}

static void errors_name_the_path(void **state) {
    const fixture *f = *state;
    char missing[UNIT_PATH], pipe[UNIT_PATH];
    unit_path(missing, f->directory, "missing");
    unit_path(pipe, f->directory, "pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0); /* nobody writes to it, and nobody waits for that */
    const char *paths[] = {missing, f->directory, "/dev/null", pipe};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        nb_map map;
        nb_error err;
        assert_int_equal(nb_map_open(&map, paths[i], &err), NB_IO);
        assert_non_null(strstr(err.text, paths[i]));
        assert_null(map.data);
        nb_file file;
        assert_int_equal(nb_file_open(&file, paths[i], &err), NB_IO);
        assert_non_null(strstr(err.text, paths[i]));
    }
    for (size_t i = 0; i < 2; i++) {
        nb_buf b = {0};
        nb_error err;
        assert_int_equal(nb_read_file(paths[i], 100, &b, &err), NB_IO);
        assert_non_null(strstr(err.text, paths[i]));
        assert_int_equal(b.size, 0);
        nb_buf_free(&b);
    }
}

static void reading_survives_memory_failure(void **state) {
    const fixture *f = *state;
    unit_write_file(f->target, "abc", 3);
    nb_buf b = {0};
    nb_error err;
    nb_mem_fail_at(0);
    assert_int_equal(nb_read_file(f->target, 100, &b, &err), NB_MEMORY);
    nb_mem_fail_at(-1);
    nb_buf_free(&b);
}

static void reads_standard_input(void **state) {
    (void)state;
    int ends[2], saved = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "from a pipe", 11), 11);
    close(ends[1]);
    assert_int_equal(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    close(ends[0]);
    nb_buf b = {0};
    assert_int_equal(nb_read_file("-", 100, &b, NULL), NB_OK);
    assert_string_equal(nb_buf_str(&b), "from a pipe");
    nb_buf_free(&b);
    if (saved >= 0) {
        dup2(saved, STDIN_FILENO);
        close(saved);
    }
}

static void tells_files_from_directories(void **state) {
    const fixture *f = *state;
    char link[UNIT_PATH], dangling[UNIT_PATH];
    unit_write_file(f->target, "", 0);
    assert_int_equal(symlink("target", unit_path(link, f->directory, "link")), 0);
    assert_int_equal(symlink("nowhere", unit_path(dangling, f->directory, "dangling")), 0);
    assert_true(nb_is_directory(f->directory));
    assert_false(nb_file_exists(f->directory));
    assert_true(nb_file_exists(f->target));
    assert_true(nb_file_exists(link));
    assert_false(nb_is_directory(link));
    assert_false(nb_file_exists(dangling));
    assert_false(nb_file_exists("/dev/null"));
}

/* Everything about replacing holds with and without O_TMPFILE. */
static void for_both_ways(const fixture *f, void (*test)(const fixture *f)) {
    for (int named = 0; named < 2; named++) {
        nb_replace_named_only(named);
        test(f);
        unlink(f->target);
        assert_int_equal(unit_count_entries(f->directory), 0);
    }
}

static void write_text(nb_replace *r, const char *text) {
    assert_int_equal(nb_replace_write(r, text, strlen(text), NULL), NB_OK);
}

static void creates_and_replaces(const fixture *f) {
    nb_replace r;
    nb_error err;
    assert_int_equal(nb_replace_begin(&r, f->target, false, &err), NB_OK);
    write_text(&r, "one, ");
    assert_int_equal(nb_replace_write_at(&r, 10, "end", 3, &err), NB_OK);
    assert_int_equal(nb_replace_write_at(&r, 5, "two, ", 5, &err), NB_OK);
    write_text(&r, "!"); /* at the end, wherever the last write was */
    assert_int_equal(nb_replace_write(&r, NULL, 0, &err), NB_OK);
    assert_false(nb_file_exists(f->target));
    assert_int_equal(nb_replace_commit(&r, &err), NB_OK);
    unit_assert_file(f->target, "one, two, end!", 14);
    nb_replace_abandon(&r);
    assert_int_equal(nb_replace_begin(&r, f->target, true, &err), NB_OK);
    write_text(&r, "second");
    unit_assert_file(f->target, "one, two, end!", 14);
    assert_int_equal(nb_replace_commit(&r, &err), NB_OK);
    unit_assert_file(f->target, "second", 6);
    assert_int_equal(unit_count_entries(f->directory), 1);
}

static void mode_follows_the_umask(const fixture *f) {
    mode_t old = umask(027);
    nb_replace r;
    assert_int_equal(nb_replace_begin(&r, f->target, false, NULL), NB_OK);
    assert_int_equal(nb_replace_commit(&r, NULL), NB_OK);
    umask(old);
    struct stat st;
    assert_int_equal(stat(f->target, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
}

static void abandoning_leaves_the_old_file(const fixture *f) {
    unit_write_file(f->target, "old", 3);
    nb_replace r;
    assert_int_equal(nb_replace_begin(&r, f->target, true, NULL), NB_OK);
    write_text(&r, "new");
    nb_replace_abandon(&r);
    nb_replace_abandon(&r);
    unit_assert_file(f->target, "old", 3);
    assert_int_equal(unit_count_entries(f->directory), 1);
    int flags = fcntl(STDIN_FILENO, F_GETFD); /* descriptor 0 of a zeroed object is not its own */
    nb_replace zero = {0};
    nb_replace_abandon(&zero);
    nb_replace_abandon(NULL);
    assert_int_equal(fcntl(STDIN_FILENO, F_GETFD), flags);
}

static void refuses_to_overwrite(const fixture *f) {
    nb_replace r;
    nb_error err;
    char expected[UNIT_PATH + 64];
    snprintf(expected, sizeof expected, "'%s' exists already; --force replaces it", f->target);
    unit_write_file(f->target, "old", 3);
    assert_int_equal(nb_replace_begin(&r, f->target, false, &err), NB_ARGUMENT);
    assert_string_equal(err.text, expected);
    unlink(f->target);
    /* It may also appear while we write. */
    assert_int_equal(nb_replace_begin(&r, f->target, false, &err), NB_OK);
    write_text(&r, "new");
    unit_write_file(f->target, "rival", 5);
    assert_int_equal(nb_replace_commit(&r, &err), NB_ARGUMENT);
    assert_string_equal(err.text, expected);
    unit_assert_file(f->target, "rival", 5);
    assert_int_equal(unit_count_entries(f->directory), 1);
}

static void refuses_what_is_not_a_file(const fixture *f) {
    char inside[UNIT_PATH], slash[UNIT_PATH];
    unit_path(inside, f->directory, "no/such");
    unit_path(slash, f->directory, "");
    const struct {
        const char *path;
        nb_status status;
    } cases[] = {{"", NB_ARGUMENT}, {slash, NB_ARGUMENT}, {f->directory, NB_ARGUMENT}, {"/dev/null", NB_ARGUMENT}, {inside, NB_IO}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        nb_replace r;
        nb_error err;
        assert_int_equal(nb_replace_begin(&r, cases[i].path, true, &err), cases[i].status);
        assert_int_equal(err.status, cases[i].status);
        nb_replace_abandon(&r);
    }
}

static void follows_links(const fixture *f) {
    char link[UNIT_PATH];
    unit_write_file(f->target, "old", 3);
    assert_int_equal(symlink("target", unit_path(link, f->directory, "link")), 0);
    nb_replace r;
    assert_int_equal(nb_replace_begin(&r, link, true, NULL), NB_OK);
    write_text(&r, "new");
    assert_int_equal(nb_replace_commit(&r, NULL), NB_OK);
    unit_assert_file(f->target, "new", 3);
    struct stat st;
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    unlink(link);
}

/* The n-th allocation fails, for every n until nothing fails: the old file is whole and nothing else lies about. */
static void survives_memory_failure(const fixture *f) {
    bool done = false;
    for (int n = 0; !done; n++) {
        assert_true(n < 100);
        unit_write_file(f->target, "old", 3);
        nb_replace r;
        nb_error err = {0};
        nb_mem_fail_at(n);
        nb_status status = nb_replace_begin(&r, f->target, true, &err);
        if (!status) status = nb_replace_write(&r, "new", 3, &err);
        if (!status) status = nb_replace_commit(&r, &err);
        nb_mem_fail_at(-1);
        nb_replace_abandon(&r);
        done = !status;
        assert_true(status == NB_OK || status == NB_MEMORY);
        assert_int_equal(unit_count_entries(f->directory), 1);
        unit_assert_file(f->target, status ? "old" : "new", 3);
    }
}

static void handle_by_abandoning(int signal_number) {
    // NOLINTNEXTLINE(bugprone-signal-handler,cert-sig30-c): base/file.h promises that it is async-signal-safe
    nb_replace_abandon_all();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* A child that begins, writes, says so and waits for the signal; returns how the object was held. */
static void die_between_begin_and_commit(const fixture *f, int signal_number) {
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGTERM, handle_by_abandoning);
        nb_replace a, b;
        char other[UNIT_PATH];
        bool fine = nb_replace_begin(&a, f->target, true, NULL) == NB_OK &&
                    nb_replace_write(&a, "new", 3, NULL) == NB_OK &&
                    nb_replace_begin(&b, unit_path(other, f->directory, "other"), false, NULL) == NB_OK;
        char named = (char)(a.temporary != NULL);
        if (!fine || write(ready[1], &named, 1) != 1) _exit(1);
        for (;;) pause();
    }
    close(ready[1]);
    char named = 0;
    assert_int_equal(read(ready[0], &named, 1), 1);
    close(ready[0]);
    unit_assert_file(f->target, "old", 3);
    assert_int_equal(kill(child, signal_number), 0);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), signal_number);
    unit_assert_file(f->target, "old", 3);
    if (!named || signal_number != SIGKILL) assert_int_equal(unit_count_entries(f->directory), 1);
}

static void death_by_signal_leaves_the_old_file(const fixture *f) {
    unit_write_file(f->target, "old", 3);
    die_between_begin_and_commit(f, SIGTERM);
}

static void death_by_kill_leaves_the_old_file(void **state) {
    const fixture *f = *state;
    unit_write_file(f->target, "old", 3);
    die_between_begin_and_commit(f, SIGKILL);
}

static void many_at_a_time(const fixture *f) {
    enum { MANY = 80 }; /* more than the registry has slots */
    nb_replace r[MANY];
    char path[UNIT_PATH], name[32];
    int begun = 0;
    for (; begun < MANY; begun++) {
        snprintf(name, sizeof name, "file%d", begun);
        nb_error err;
        nb_status status = nb_replace_begin(&r[begun], unit_path(path, f->directory, name), false, &err);
        if (status == NB_LIMIT) break;
        assert_int_equal(status, NB_OK);
    }
    assert_true(begun == MANY || begun == 64);
    for (int i = 0; i < begun; i++) nb_replace_abandon(&r[i]);
    assert_int_equal(unit_count_entries(f->directory), 0);
}

#define BOTH_WAYS(test) \
    static void test##_both_ways(void **state) { \
        for_both_ways(*state, test); \
    }
BOTH_WAYS(creates_and_replaces)
BOTH_WAYS(mode_follows_the_umask)
BOTH_WAYS(abandoning_leaves_the_old_file)
BOTH_WAYS(refuses_to_overwrite)
BOTH_WAYS(refuses_what_is_not_a_file)
BOTH_WAYS(follows_links)
BOTH_WAYS(survives_memory_failure)
BOTH_WAYS(death_by_signal_leaves_the_old_file)
BOTH_WAYS(many_at_a_time)

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(maps_and_reads_files),
        TEST(errors_name_the_path),
        TEST(reading_survives_memory_failure),
        TEST(reads_standard_input),
        TEST(tells_files_from_directories),
        TEST(creates_and_replaces_both_ways),
        TEST(mode_follows_the_umask_both_ways),
        TEST(abandoning_leaves_the_old_file_both_ways),
        TEST(refuses_to_overwrite_both_ways),
        TEST(refuses_what_is_not_a_file_both_ways),
        TEST(follows_links_both_ways),
        TEST(survives_memory_failure_both_ways),
        TEST(death_by_signal_leaves_the_old_file_both_ways),
        TEST(death_by_kill_leaves_the_old_file),
        TEST(many_at_a_time_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
