#include "format/kind.h"

#include <stdbool.h>
#include <string.h>
#include "base/bytes.h"

const nb_kind_info nb_kinds[NB_KIND_UNKNOWN] = {
#define KIND(NAME, magic, what) [NB_KIND_##NAME] = {magic, sizeof magic - 1, what},
#include "format/kinds.def"
#undef KIND
};

/* The length of a header, which is a JSON object (github.com/huggingface/safetensors, README.md, "Format"). */
static bool looks_like_safetensors(const uint8_t *head, size_t n, uint64_t file_bytes) {
    return n > 8 && head[8] == '{' && nb_get_u64(head) <= file_bytes - 8;
}

nb_kind nb_kind_of(const void *head, size_t n, uint64_t file_bytes) {
    for (int i = 0; i < NB_KIND_UNKNOWN; i++) {
        const nb_kind_info *k = &nb_kinds[i];
        if (k->n ? n >= k->n && !memcmp(head, k->magic, k->n) : looks_like_safetensors(head, n, file_bytes))
            return (nb_kind)i;
    }
    return NB_KIND_UNKNOWN;
}
