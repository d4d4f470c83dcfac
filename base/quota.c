#include "base/quota.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_LIMIT = 512, LINE_LIMIT = 512 };

static bool read_line_of(const char *path, char line[LINE_LIMIT]) {
    FILE *f = fopen(path, "re");
    bool read = f && fgets(line, LINE_LIMIT, f);
    if (f) fclose(f);
    return read;
}

/* Quota and period: microseconds of processor time in every so many. What is no number is 0, no limit, as are "max" of
 * version 2 and -1 of version 1. */
static int cpus_of(const char *quota_text, const char *period_text) {
    long long quota = strtoll(quota_text, NULL, 10), period = strtoll(period_text, NULL, 10);
    if (quota <= 0 || period <= 0 || quota / period >= INT_MAX) return INT_MAX;
    return (int)(quota / period + (quota % period != 0));
}

/* What one group limits. `folder` leaves room for the names. */
static int quota_in(const char *folder, bool v2) {
    char path[PATH_LIMIT + 32], line[LINE_LIMIT], second[LINE_LIMIT];
    snprintf(path, sizeof path, "%s/%s", folder, v2 ? "cpu.max" : "cpu.cfs_quota_us");
    if (!read_line_of(path, line)) return INT_MAX;
    if (v2) return cpus_of(line, line + strcspn(line, " ")); /* "max 100000", "200000 100000" */
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    return read_line_of(path, second) ? cpus_of(line, second) : INT_MAX;
}

/* Of a group and all above it, up to the `mount`, which is a container's own where the group's path is not to be seen
 * in it. */
static int quota_above(const char *root, const char *mount, const char *group, bool v2) {
    char folder[PATH_LIMIT];
    int n = snprintf(folder, sizeof folder, "%s%s", root, mount);
    if (n < 0 || (size_t)n >= sizeof folder) return INT_MAX;
    size_t top = (size_t)n;
    n = snprintf(folder + top, sizeof folder - top, "%s", group);
    if (n < 0 || (size_t)n >= sizeof folder - top) return INT_MAX;
    int least = INT_MAX;
    for (;;) {
        int here = quota_in(folder, v2);
        if (here < least) least = here;
        char *slash = strrchr(folder + top, '/');
        if (!slash) return least;
        *slash = '\0';
    }
}

/* Whether "cpu" is one of the names between commas. */
static bool names_cpu(const char *list) {
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strcspn(at, ",") == 3 && !strncmp(at, "cpu", 3)) return true;
    }
    return false;
}

int nb_cpu_quota(const char *root) {
    char path[PATH_LIMIT], line[LINE_LIMIT];
    int least = INT_MAX;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) { /* "0::/a/b" is version 2's, "4:cpu,cpuacct:/a/b" one of version 1 */
        line[strcspn(line, "\n")] = '\0';
        char *list = strchr(line, ':'), *group = list ? strchr(list + 1, ':') : NULL;
        if (!group) continue;
        *group++ = '\0';
        bool v2 = !list[1];
        if (!v2 && !names_cpu(list + 1)) continue;
        int here = quota_above(root, v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu", group, v2);
        if (here < least) least = here;
    }
    if (f) fclose(f);
    return least;
}
