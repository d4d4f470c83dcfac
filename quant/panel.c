#include "quant/panel.h"

#include <string.h>

/* Two groups share their bytes. */
static void pack_nibbles(const uint8_t *codes, uint8_t *block) {
    for (size_t pair = 0; pair < NB_BLOCK_CODES / (2 * NB_GROUP_CODES); pair++) {
        const uint8_t *low = codes + pair * 2 * NB_GROUP_CODES, *high = low + NB_GROUP_CODES;
        uint8_t *to = block + pair * NB_GROUP_CODES;
        for (size_t i = 0; i < NB_GROUP_CODES; i++) to[i] = (uint8_t)(low[i] | high[i] << 4);
    }
}

void nb_codes_pack(nb_type type, const uint8_t codes[NB_BLOCK_CODES], uint8_t *block) {
    if (nb_types[type].block_bytes == NB_BLOCK_CODES) memcpy(block, codes, NB_BLOCK_CODES);
    else pack_nibbles(codes, block);
}

uint8_t nb_code_of(nb_type type, const uint8_t *block, size_t row, size_t col) {
    size_t group = col / NB_GROUP_COLS, lane = row * NB_GROUP_COLS + col % NB_GROUP_COLS;
    if (nb_types[type].block_bytes == NB_BLOCK_CODES) return block[group * NB_GROUP_CODES + lane];
    uint8_t byte = block[group / 2 * NB_GROUP_CODES + lane];
    return group % 2 ? byte >> 4 : byte & 15;
}
