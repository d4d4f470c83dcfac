#include "core/tools.h"

const nb_tool nb_tools[] = {
    {.name = "calculator", .call_start = "<|python_start|>", .call_end = "<|python_end|>",
     .output_start = "<|output_start|>", .output_end = "<|output_end|>", .call = nb_calculate},
};
const size_t nb_tool_count = sizeof nb_tools / sizeof *nb_tools;
