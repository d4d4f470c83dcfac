/* Tools that a model may call while it generates: a registry of one row per tool. Nothing else knows their names:
 * core/row.c finds a tool by the control token that starts its call.
 *
 * nanochat's calculator: tokens between <|python_start|> and <|python_end|> are an expression; its value is forced into
 * the text as <|output_start|>value<|output_end|>. No result: nothing is forced. */
#ifndef NB_CORE_TOOLS_H
#define NB_CORE_TOOLS_H

#include <stdbool.h>
#include <stddef.h>
#include "base/buf.h"
#include "base/status.h"
#include "core/vocab.h"

/* Evaluate an expression as nanochat's calculator does: numbers with + - * / // and parentheses, and string literals
 * with .count("..."), with Python's results and spelling (exact ints, `4/2` is 2.0, repr of floats). Appends the
 * value's text to `out` and returns true, or returns false when there is no result: anything else, what Python raises
 * an exception for, more than 512 bytes or 64 levels of parentheses. A result is always Python's. */
bool nb_calculate(const char *expression, size_t n, nb_buf *out);

typedef struct nb_tool {
    const char *name;
    const char *call_start, *call_end;     /* texts of the special tokens around a call */
    const char *output_start, *output_end; /* and around its forced result */
    /* Appends the result of the call text[n], which a NUL follows; false: there is none. */
    bool (*call)(void *user, const char *text, size_t n, nb_buf *out);
    void *user;
} nb_tool;
extern const nb_tool nb_tools[];
extern const size_t nb_tool_count;

/* The vocabulary has the tool's four control tokens; else the text of the first that it lacks. */
bool nb_tool_usable(const nb_tool *tool, const nb_vocab *v);
const char *nb_tool_lacks(const nb_tool *tool, const nb_vocab *v); /* NULL: none */

#endif
