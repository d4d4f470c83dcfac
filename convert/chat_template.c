#include "convert/chat_template.h"

#include <stddef.h>
#include <string.h>

enum { MAX_MARKS = 6 };

/* The first row all of whose marks are there, and none of those it must not have. In the marks quotes are single and
 * \n is a line's end, as `spelled` makes them. */
typedef struct template_row {
    const char *style;
    const char *has[MAX_MARKS], *lacks[MAX_MARKS];
    const char *system;   /* the system text where the messages bring none; NULL: what stands between `block`, if any */
    const char *block[2];
} template_row;

#define CHATML "<|im_start|>", "<|im_end|>", "assistant"
/* Other separators, other families, SmolLM3's metadata, and models that are made to think first. */
#define NOT_CHATML "<|im_sep|>", "<|start_header_id|>", "[INST]", "## Metadata", "<|im_start|>assistant\n<think>"
#define CHATML_SYSTEM {"<|im_start|>system\n", "<|im_end|>"}
#define ROLES "<|user|>\n", "<|assistant|>"

static const template_row rows[] = {
    {"nanochat", {"<|user_start|>", "<|user_end|>", "<|assistant_start|>", "<|assistant_end|>"}, {NULL}, NULL, {NULL}},
    {"llama-3.1", {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "Cutting Knowledge Date: December 2023\n"},
     {"<|im_start|>"}, "", {NULL}},
    {"llama-3", {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}, {"<|im_start|>", "Knowledge Date"}, NULL,
     {NULL}},
    {"chatml-bos", {CHATML, "bos_token"}, {NOT_CHATML}, NULL, CHATML_SYSTEM},
    {"chatml", {CHATML}, {NOT_CHATML}, NULL, CHATML_SYSTEM},
    {"gemma", {"<start_of_turn>", "<end_of_turn>", "model"}, {"<|im_start|>"}, NULL, {NULL}},
    {"llama-2", {"[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"}, {"<|im_start|>"}, NULL, {NULL}},
    {"mistral-v3", {"[INST] ", "[/INST]"}, {"<<SYS>>", "[SYSTEM_PROMPT]", " [/INST]"}, NULL, {NULL}},
    {"mistral", {"[INST] ", " [/INST]"}, {"<<SYS>>", "[SYSTEM_PROMPT]", "[AVAILABLE_TOOLS]"}, NULL, {NULL}},
    {"phi-3", {ROLES, "<|end|>"}, {"<|im_start|>", "<|user_start|>"}, NULL, {NULL}},
    {"phi-3", {"'<|' + message['role'] + '|>' + '\n'", "<|end|>", "<|assistant|>"}, {"<|user|>"}, NULL, {NULL}},
    {"zephyr", {ROLES, "'<|user|>\n' + message['content'] + eos_token"}, {"<|end|>", "<|im_start|>", "<|endoftext|>"},
     NULL, {NULL}},
    {"olmo-2",
     {ROLES, "bos_token", "'<|user|>\n' + message['content'] + '\n'", "message['content'] + eos_token + '\n'"},
     {"<|end|>", "<|im_start|>"}, NULL, {NULL}},
};

/* The template with one spelling of quotes and of ends of lines. */
static void spelled(const char *text, nb_buf *out) {
    for (; *text; text++) {
        bool line = text[0] == '\\' && text[1] == 'n';
        nb_buf_byte(out, line ? '\n' : *text == '"' ? '\'' : (uint8_t)*text);
        text += line;
    }
}

static bool fits(const template_row *row, const char *text) {
    for (size_t k = 0; k < MAX_MARKS; k++) {
        if (row->has[k] && !strstr(text, row->has[k])) return false;
        if (row->lacks[k] && strstr(text, row->lacks[k])) return false;
    }
    return true;
}

/* The template's row; `marks` becomes the template as rows spell it. */
static const template_row *row_of(const char *text, nb_buf *marks) {
    spelled(text, marks);
    for (size_t i = 0; !marks->failed && i < sizeof rows / sizeof *rows; i++)
        if (fits(&rows[i], nb_buf_str(marks))) return &rows[i];
    return NULL;
}

const char *nb_chat_style_of_template(const char *text) {
    nb_buf marks = {0};
    const template_row *row = row_of(text, &marks);
    nb_buf_free(&marks);
    return row ? row->style : NULL;
}

/* A system text is what stands between the block's ends in one string of the program. */
static bool put_block(const template_row *row, const char *text, nb_buf *out) {
    size_t n = strlen(row->block[0]);
    for (const char *p = strstr(text, row->block[0]); p; p = strstr(p + n, row->block[0])) {
        const char *end = strstr(p + n, row->block[1]);
        size_t plain = strcspn(p + n, "'{}");
        if (!end || p + n + plain < end) continue;
        nb_buf_append(out, p + n, (size_t)(end - p) - n);
        return true;
    }
    return false;
}

bool nb_chat_system_of_template(const char *text, nb_buf *out) {
    nb_buf marks = {0};
    const template_row *row = row_of(text, &marks);
    bool has = row && (row->system || (row->block[0] && put_block(row, nb_buf_str(&marks), out)));
    if (has && row->system) nb_buf_text(out, row->system);
    out->failed |= marks.failed;
    nb_buf_free(&marks);
    return has;
}
