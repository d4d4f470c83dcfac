#include "convert/chat_template.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { MAX_MARKS = 5 };

/* The first row all of whose marks are there, and none of those it must not have. */
static const struct {
    const char *style;
    const char *has[MAX_MARKS], *lacks[MAX_MARKS];
} rows[] = {
    {"nanochat", {"<|user_start|>", "<|user_end|>", "<|assistant_start|>", "<|assistant_end|>"}, {NULL}},
    {"llama-3", {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}, {"<|im_start|>"}},
    {"chatml", {"<|im_start|>", "<|im_end|>", "assistant"}, {"<|im_sep|>", "<|start_header_id|>", "[INST]"}},
    {"gemma", {"<start_of_turn>", "<end_of_turn>", "model"}, {"<|im_start|>"}},
    {"llama-2", {"[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"}, {"<|im_start|>"}},
    {"mistral-v3", {"[INST] ", "[/INST]"}, {"<<SYS>>", "[SYSTEM_PROMPT]", " [/INST]"}},
    {"mistral", {"[INST] ", " [/INST]"}, {"<<SYS>>", "[SYSTEM_PROMPT]", "[AVAILABLE_TOOLS]"}},
    {"phi-3", {"<|user|>", "<|end|>", "<|assistant|>"}, {"<|im_start|>", "<|user_start|>"}},
    {"phi-3", {"'<|' + message['role'] + '|>' + '", "<|end|>", "<|assistant|>"}, {"<|user|>"}}, /* what follows is a line's end */
    {"zephyr", {"<|user|>", "<|assistant|>", "eos_token"}, {"<|end|>", "<|im_start|>", "<|endoftext|>"}},
};

const char *nb_chat_style_of_template(const char *text) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool fits = true;
        for (size_t k = 0; k < MAX_MARKS; k++) {
            if (rows[i].has[k] && !strstr(text, rows[i].has[k])) fits = false;
            if (rows[i].lacks[k] && strstr(text, rows[i].lacks[k])) fits = false;
        }
        if (fits) return rows[i].style;
    }
    return NULL;
}
