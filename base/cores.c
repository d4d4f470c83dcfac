/* nb_physical_cores of base/team.h, once per system. */
#include "base/team.h"

#include <unistd.h>

#if defined(__linux__)

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>

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
        for (; digits < 5 && text[digits] >= '0' && text[digits] <= '9'; digits++) first = first * 10 + (text[digits] - '0');
    fclose(f);
    return digits && first < CPU_LIMIT ? first : cpu;
}

int nb_physical_cores(void) {
    cpu_set_t *allowed = CPU_ALLOC(CPU_LIMIT);
    if (!allowed) return 1;
    size_t bytes = CPU_ALLOC_SIZE(CPU_LIMIT);
    bool counted[CPU_LIMIT] = {false};
    int cores = 0;
    if (sched_getaffinity(0, bytes, allowed) == 0)
        for (int cpu = 0; cpu < CPU_LIMIT; cpu++) {
            if (!CPU_ISSET_S((size_t)cpu, bytes, allowed)) continue;
            int core = core_of(cpu);
            if (!counted[core]) cores++;
            counted[core] = true;
        }
    CPU_FREE(allowed);
    return cores > 0 ? cores : 1;
}

#elif defined(__APPLE__)

#include <sys/sysctl.h>

int nb_physical_cores(void) {
    int cores = 0;
    size_t bytes = sizeof cores;
    return sysctlbyname("hw.physicalcpu", &cores, &bytes, NULL, 0) == 0 && cores > 0 ? cores : 1;
}

#else

int nb_physical_cores(void) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores > 0 ? (int)cores : 1;
}

#endif
