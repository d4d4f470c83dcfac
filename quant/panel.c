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

/* Half a block of q6: two groups share a line of nibbles, four a line of upper bits. */
enum {
    HALF_GROUPS = 4,
    HALF_CODES = HALF_GROUPS * NB_GROUP_CODES,
    HALF_NIBBLES = HALF_CODES / 2,
    HALF_BYTES = HALF_NIBBLES + NB_GROUP_CODES,
    HALVES = NB_BLOCK_CODES / HALF_CODES,
    OFFSET_Q6 = 32
};

static void pack_planes(const uint8_t *codes, uint8_t *block) {
    memset(block, 0, (size_t)HALVES * HALF_BYTES);
    for (size_t i = 0; i < NB_BLOCK_CODES; i++) {
        size_t lane = i % NB_GROUP_CODES, group = i / NB_GROUP_CODES % HALF_GROUPS;
        uint8_t *half = block + i / HALF_CODES * HALF_BYTES;
        unsigned code = (codes[i] + OFFSET_Q6) & 63u;
        half[group / 2 * NB_GROUP_CODES + lane] |= (uint8_t)((code & 15) << group % 2 * 4);
        half[HALF_NIBBLES + lane] |= (uint8_t)(code >> 4 << 2 * group);
    }
}

static uint8_t code_of_planes(const uint8_t *block, size_t group, size_t lane) {
    const uint8_t *half = block + group / HALF_GROUPS * HALF_BYTES;
    group %= HALF_GROUPS;
    unsigned nibbles = half[group / 2 * NB_GROUP_CODES + lane], bits = half[HALF_NIBBLES + lane];
    return (uint8_t)((nibbles >> group % 2 * 4 & 15) + (bits >> 2 * group & 3) * 16 - OFFSET_Q6);
}

void nb_codes_pack(nb_type type, const uint8_t codes[NB_BLOCK_CODES], uint8_t *block) {
    if (nb_types[type].block_bytes == NB_BLOCK_CODES) memcpy(block, codes, NB_BLOCK_CODES);
    else if (type == NB_TYPE_Q6) pack_planes(codes, block);
    else pack_nibbles(codes, block);
}

uint8_t nb_code_of(nb_type type, const uint8_t *block, size_t row, size_t col) {
    size_t group = col / NB_GROUP_COLS, lane = row * NB_GROUP_COLS + col % NB_GROUP_COLS;
    if (nb_types[type].block_bytes == NB_BLOCK_CODES) return block[group * NB_GROUP_CODES + lane];
    if (type == NB_TYPE_Q6) return code_of_planes(block, group, lane);
    uint8_t byte = block[group / 2 * NB_GROUP_CODES + lane];
    return group % 2 ? byte >> 4 : byte & 15;
}
