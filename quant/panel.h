/* Where things lie in a panel of a scaled type (quant/types.h), for what writes and reads them. */
#ifndef NB_QUANT_PANEL_H
#define NB_QUANT_PANEL_H

#include <stddef.h>
#include <stdint.h>
#include "quant/types.h"

enum { NB_BLOCK_CODES = NB_PANEL_ROWS * NB_BLOCK_COLS, NB_GROUP_COLS = 4, NB_GROUP_CODES = NB_PANEL_ROWS * NB_GROUP_COLS };

/* From the panel's beginning to a block's 16 scales. */
static inline size_t nb_panel_scales_at(nb_type type, size_t block) {
    size_t strip = block / NB_STRIP_BLOCKS, codes = NB_STRIP_BLOCKS * (size_t)nb_types[type].block_bytes;
    return NB_ROW_SCALE_BYTES + strip * (NB_SCALE_LINE_BYTES + codes) + block % NB_STRIP_BLOCKS * NB_PANEL_ROWS;
}
/* ... and to its codes. */
static inline size_t nb_panel_codes_at(nb_type type, size_t block) {
    return NB_ROW_SCALE_BYTES + (block / NB_STRIP_BLOCKS + 1) * NB_SCALE_LINE_BYTES + block * nb_types[type].block_bytes;
}
static inline size_t nb_panel_blocks(size_t cols) { return (cols + NB_BLOCK_COLS - 1) / NB_BLOCK_COLS; }
/* Columns of a block: 32, but in the last one perhaps fewer. */
static inline size_t nb_block_cols(size_t cols, size_t block) {
    size_t left = cols - block * NB_BLOCK_COLS;
    return left < NB_BLOCK_COLS ? left : NB_BLOCK_COLS;
}

/* Codes of 16 block scales, `offset` from those in `middle` as far as there are such, and the scales. */
static inline void nb_scales_beside(const int8_t middle[NB_PANEL_ROWS], int offset, const float row_scale[NB_PANEL_ROWS],
                                    int8_t code[NB_PANEL_ROWS], float scale[NB_PANEL_ROWS]) {
    for (size_t r = 0; r < NB_PANEL_ROWS; r++) {
        int c = middle[r] + offset;
        code[r] = (int8_t)(c > 127 ? 127 : c < -127 ? -127 : c);
        scale[r] = row_scale[r] * (float)code[r];
    }
}

/* Codes as a search gives them, one byte each in groups of four columns [8][16][4], to a block's bytes; and one code back. */
void nb_codes_pack(nb_type type, const uint8_t codes[NB_BLOCK_CODES], uint8_t *block);
uint8_t nb_code_of(nb_type type, const uint8_t *block, size_t row, size_t col);

#endif
