#include "quant/types.h"

#include <string.h>

#include "base/checked.h"

const nb_type_info nb_types[NB_TYPE_COUNT] = {
#define TYPE(NAME, name_, code_, plain_, block_, scaled_, low_, high_)                 \
    [NB_TYPE_##NAME] = {.name = name_,                                                 \
                        .code = code_,                                                 \
                        .plain_bytes = plain_,                                         \
                        .block_bytes = block_,                                         \
                        .scaled = scaled_,                                             \
                        .low = low_,                                                   \
                        .high = high_},
#include "quant/types.def"
#undef TYPE
};

bool nb_type_by_name(const char *name, nb_type *type) {
    for (int t = 0; t < NB_TYPE_COUNT; t++)
        if (strcmp(nb_types[t].name, name) == 0) {
            *type = (nb_type)t;
            return true;
        }
    return false;
}

bool nb_type_by_code(unsigned code, nb_type *type) {
    for (int t = 0; t < NB_TYPE_COUNT; t++)
        if (nb_types[t].code == code) {
            *type = (nb_type)t;
            return true;
        }
    return false;
}

bool nb_plain_bytes(nb_type type, uint64_t count, uint64_t *bytes) {
    return nb_types[type].plain_bytes && nb_mul_u64(count, nb_types[type].plain_bytes, bytes);
}

bool nb_panel_bytes(nb_type type, uint64_t cols, uint64_t *bytes) {
    const nb_type_info *info = &nb_types[type];
    if (!info->block_bytes || cols > UINT64_MAX - NB_BLOCK_COLS) return false;
    uint64_t blocks = (cols + NB_BLOCK_COLS - 1) / NB_BLOCK_COLS;
    if (!nb_mul_u64(blocks, info->block_bytes, bytes)) return false;
    if (!info->scaled) return true;
    uint64_t strips = (blocks + NB_STRIP_BLOCKS - 1) / NB_STRIP_BLOCKS;
    /* strips <= blocks, and a block of codes is larger than a scale line: the product cannot wrap, the sum might. */
    return nb_add_u64(*bytes, strips * NB_SCALE_LINE_BYTES + NB_ROW_SCALE_BYTES, bytes);
}

bool nb_panels_bytes(nb_type type, uint64_t rows, uint64_t cols, uint64_t *bytes) {
    uint64_t panel, panels = rows / NB_PANEL_ROWS + (rows % NB_PANEL_ROWS != 0);
    return nb_panel_bytes(type, cols, &panel) && nb_mul_u64(panel, panels, bytes);
}
