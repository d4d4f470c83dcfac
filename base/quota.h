/* Processor time that the system grants: what `docker run --cpus` and a service's CPUQuota set. */
#ifndef NB_BASE_QUOTA_H
#define NB_BASE_QUOTA_H

/* CPUs' worth of time that this process may use, rounded up: the least of its control group and those above it, of
 * version 2 (cpu.max) or 1 (cpu.cfs_quota_us, cpu.cfs_period_us), as the kernel's admin-guide/cgroup-v2 and
 * scheduler/sched-bwc define them. INT_MAX where nothing limits it or nothing is known. `root` stands before every path
 * that is read: "" is the system, tests give a folder. */
int nb_cpu_quota(const char *root);

#endif
