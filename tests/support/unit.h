/* cmocka with the headers it wants before it, and what most suites need beside it. */
#ifndef NB_TESTS_SUPPORT_UNIT_H
#define NB_TESTS_SUPPORT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* NIBBLE_TEST_QUICK=1: suites with many cases leave some out, for emulated machines. Says so, the first time. */
bool unit_quick(void);

/* A new, empty directory in TMPDIR (default: /tmp), where one that an interrupted test leaves behind is in nobody's
 * way; the caller owns the path. */
char *unit_scratch_new(void);

/* Remove a scratch directory with everything in it, and free its path. */
void unit_scratch_free(char *directory);

/* For groups of tests whose state is nothing but such a directory. */
int unit_scratch_setup(void **state);
int unit_scratch_teardown(void **state);

/* "directory/name" in a buffer of the caller, which is returned. */
enum { UNIT_PATH = 512 };
const char *unit_path(char buffer[UNIT_PATH], const char *directory, const char *name);

/* Entries of a directory, hidden ones included, "." and ".." not. */
int unit_count_entries(const char *directory);

/* Write a whole file / compare a file's bytes; a failure fails the test. */
void unit_write_file(const char *path, const void *bytes, size_t n);
void unit_assert_file(const char *path, const void *bytes, size_t n);

/* A pseudo-random sequence (splitmix64): the same for the same seed everywhere. */
uint64_t unit_random(uint64_t *state);
/* A beginning for it that changes from run to run, and is printed; NIBBLE_TEST_SEED=N repeats one. */
uint64_t unit_seed(void);
double unit_random_between(uint64_t *state, double low, double high);

#endif
