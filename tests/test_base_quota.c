#include "tests/support/unit.h"

#include <limits.h>
#include <sys/stat.h>
#include "base/quota.h"

typedef struct entry {
    const char *path, *text;
} entry;

/* Files below a root, and the CPUs that follow from them. */
static const struct {
    entry files[5];
    int cpus;
} cases[] = {
    {{{NULL, NULL}}, INT_MAX},
    {{{"proc/self/cgroup", "0::/\n"}}, INT_MAX},
    {{{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "max 100000\n"}}, INT_MAX},
    {{{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "200000 100000\n"}}, 2},
    {{{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "150000 100000\n"}}, 2},
    {{{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "1000 100000\n"}}, 1},
    {{{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "0 0\n"}}, INT_MAX},
    {{{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "many\n"}}, INT_MAX},
    {{{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "9000000000000 1\n"}}, INT_MAX},
    {{{"proc/self/cgroup", "0::/a/b\n"}, {"sys/fs/cgroup/a/b/cpu.max", "max 100000\n"}, {"sys/fs/cgroup/a/cpu.max", "300000 100000\n"}}, 3},
    {{{"proc/self/cgroup", "0::/a/b\n"}, {"sys/fs/cgroup/a/b/cpu.max", "700000 100000\n"}, {"sys/fs/cgroup/a/cpu.max", "max 100000\n"},
      {"sys/fs/cgroup/cpu.max", "800000 100000\n"}}, 7},
    {{{"proc/self/cgroup", "0::/not/seen/in/the/container\n"}, {"sys/fs/cgroup/cpu.max", "400000 100000\n"}}, 4},
    {{{"proc/self/cgroup", "12:cpuset:/c\n5:cpu,cpuacct:/c\n0::/\n"}, {"sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "250000\n"},
      {"sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "50000\n"}}, 5},
    {{{"proc/self/cgroup", "5:cpuacct,cpu:/c\n"}, {"sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "-1\n"},
      {"sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "50000\n"}}, INT_MAX},
    {{{"proc/self/cgroup", "12:cpuset:/c\n"}, {"sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "250000\n"},
      {"sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "50000\n"}}, INT_MAX}, /* another controller's group */
    {{{"proc/self/cgroup", "no colon\n:\n4:cpu\n"}}, INT_MAX},
};

static void write_below(const char *root, const entry *e) {
    char path[UNIT_PATH];
    unit_path(path, root, e->path);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        mkdir(path, 0777);
    }
    unit_write_file(path, e->text, strlen(e->text));
}

static void quotas_are_the_least_of_a_group_and_those_above(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *root = unit_scratch_new();
        for (const entry *e = cases[i].files; e < cases[i].files + COUNT_OF(cases[i].files) && e->path; e++)
            write_below(root, e);
        int found = nb_cpu_quota(root);
        if (found != cases[i].cpus) fail_msg("case %zu: expected %d CPUs, found %d", i, cases[i].cpus, found);
        unit_scratch_free(root);
    }
    assert_true(nb_cpu_quota("") >= 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(quotas_are_the_least_of_a_group_and_those_above)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
