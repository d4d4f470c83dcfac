/* nb_physical_cores and nb_usable_cpus of base/team.h, once per system. */
#include "base/team.h"

#include <unistd.h>

#if defined(__linux__)

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/quota.h"

enum { CPU_LIMIT = 8192 };

/* The lowest logical CPU on the same core, which names the core; the CPU itself where the kernel does not say. */
static int core_of(int cpu) {
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    FILE *f = fopen(path, "re");
    if (!f) return cpu;
    char text[16] = {0}; /* "0,4" or "0-1": the first number is all that matters */
    int first = 0, digits = 0;
    if (fgets(text, sizeof text, f))
        for (; digits < 5 && text[digits] >= '0' && text[digits] <= '9'; digits++)
            first = first * 10 + (text[digits] - '0');
    fclose(f);
    return digits && first < CPU_LIMIT ? first : cpu;
}

/* Those that affinity allows, as cores or as logical CPUs, but no more than there is processor time for. */
static int count(bool cores) {
    cpu_set_t *allowed = CPU_ALLOC(CPU_LIMIT);
    if (!allowed) return 1;
    size_t bytes = CPU_ALLOC_SIZE(CPU_LIMIT);
    bool counted[CPU_LIMIT] = {false};
    int n = 0, quota = nb_cpu_quota("");
    if (sched_getaffinity(0, bytes, allowed) == 0)
        for (int cpu = 0; cpu < CPU_LIMIT; cpu++) {
            if (!CPU_ISSET_S((size_t)cpu, bytes, allowed)) continue;
            int name = cores ? core_of(cpu) : cpu;
            if (!counted[name]) n++;
            counted[name] = true;
        }
    CPU_FREE(allowed);
    if (n > quota) n = quota;
    return n > 0 ? n : 1;
}

int nb_physical_cores(void) { return count(true); }
int nb_usable_cpus(void) { return count(false); }

#elif defined(__APPLE__)

#include <sys/sysctl.h>

static int count(const char *what) {
    int n = 0;
    size_t bytes = sizeof n;
    return sysctlbyname(what, &n, &bytes, NULL, 0) == 0 && n > 0 ? n : 1;
}

int nb_physical_cores(void) { return count("hw.physicalcpu"); }
int nb_usable_cpus(void) { return count("hw.logicalcpu"); }

#else

int nb_physical_cores(void) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores > 0 ? (int)cores : 1;
}
int nb_usable_cpus(void) { return nb_physical_cores(); }

#endif
