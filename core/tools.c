#include "core/tools.h"

static bool calculate(void *user, const char *text, size_t n, nb_buf *out) {
    (void)user;
    return nb_calculate(text, n, out);
}

const nb_tool nb_tools[] = {
    {.name = "calculator", .call_start = "<|python_start|>", .call_end = "<|python_end|>",
     .output_start = "<|output_start|>", .output_end = "<|output_end|>", .call = calculate},
};
const size_t nb_tool_count = sizeof nb_tools / sizeof *nb_tools;

const char *nb_tool_lacks(const nb_tool *tool, const nb_vocab *v) {
    const char *const texts[] = {tool->call_start, tool->call_end, tool->output_start, tool->output_end};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (nb_vocab_special(v, texts[i]) == NB_NO_TOKEN) return texts[i];
    return NULL;
}

bool nb_tool_usable(const nb_tool *tool, const nb_vocab *v) { return !nb_tool_lacks(tool, v); }
