/* The demo model as a program that uses include/nibble.h opens it. */
#ifndef NB_TESTS_API_H
#define NB_TESTS_API_H

#include "include/nibble.h"
#include "tests/support/unit.h"

extern struct api {
    nibble_model *model;
    nibble_error *error;
    char path[UNIT_PATH];
} api;

int api_set_up(void **state); /* of a group of tests */
int api_tear_down(void **state);

void api_ok(nibble_status st); /* fails with the error's text */
void api_refused(nibble_status st, nibble_status expected, const char *words);

size_t api_ids(const char *text, unsigned flags, int32_t *ids, size_t capacity);
size_t api_conversation(int32_t ids[100], const char *question); /* up to where the model answers */

#endif
