#include "core/tools.h"

const nb_tool nb_tools[] = {
    {.name = "calculator", .call_start = "<|python_start|>", .call_end = "<|python_end|>",
     .output_start = "<|output_start|>", .output_end = "<|output_end|>", .call = nb_calculate},
};
const size_t nb_tool_count = sizeof nb_tools / sizeof *nb_tools;

bool nb_tool_usable(const nb_tool *tool, const nb_vocab *v) {
    const char *const texts[] = {tool->call_start, tool->call_end, tool->output_start, tool->output_end};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (nb_vocab_special(v, texts[i]) == NB_NO_TOKEN) return false;
    return true;
}
