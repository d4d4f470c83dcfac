/* Element types and the geometry of panels: how many bytes a tensor takes and where its parts lie.
 *
 * A matrix [rows][cols] that is multiplied is stored in panels of 16 rows; rows are padded to 16 and columns to 32 with
 * zeros. Unscaled types (f32, f16, bf16) store, for each column, the 16 rows' values side by side. Scaled types (q8, q6,
 * q4) begin with 64 bytes of f32 row scales; then follow strips of 4 blocks (128 columns; the last strip may hold
 * fewer blocks): a line of 64 signed scale bytes (4 blocks x 16 rows; unused ones are zero), then the blocks' codes.
 * In a block, 64 bytes hold four consecutive columns of row 0, then of row 1, ... row 15; q4 packs two such groups
 * into one: low nibble = columns k..k+3, high nibble = columns k+4..k+7. q6 has planes, half a block at a time, 16 columns in
 * four groups: the low four bits of the codes as in q4, 128 bytes, then 64 bytes with the upper two bits of group g in bits 2 g and
 * 2 g + 1. Its codes are offset by 32, so that 0 is the lowest.
 * The value of a weight is rowscale * (blockscale * code), q4 codes being looked up in the tensor's codebook. */
#ifndef NB_QUANT_TYPES_H
#define NB_QUANT_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum nb_type {
#define TYPE(NAME, name, code, plain_bytes, block_bytes, scaled, low, high) NB_TYPE_##NAME,
#include "quant/types.def"
#undef TYPE
    NB_TYPE_COUNT
} nb_type;

typedef struct nb_type_info {
    const char *name;
    uint8_t code, plain_bytes;
    uint16_t block_bytes;
    bool scaled;
    int8_t low, high;
} nb_type_info;
extern const nb_type_info nb_types[NB_TYPE_COUNT];

bool nb_type_by_name(const char *name, nb_type *type);   /* false: no such type */
bool nb_type_by_code(unsigned code, nb_type *type);

enum {
    NB_PANEL_ROWS = 16,
    NB_BLOCK_COLS = 32,
    NB_STRIP_BLOCKS = 4,
    NB_STRIP_COLS = NB_BLOCK_COLS * NB_STRIP_BLOCKS,
    NB_ROW_SCALE_BYTES = NB_PANEL_ROWS * 4,
    NB_SCALE_LINE_BYTES = NB_PANEL_ROWS * NB_STRIP_BLOCKS,
    NB_CODEBOOK_SIZE = 16
};

/* Sizes in bytes; false when the size does not fit or the type has no such layout. */
bool nb_plain_bytes(nb_type type, uint64_t count, uint64_t *bytes);
bool nb_panel_bytes(nb_type type, uint64_t cols, uint64_t *bytes);                 /* one panel of 16 rows */
bool nb_panels_bytes(nb_type type, uint64_t rows, uint64_t cols, uint64_t *bytes); /* the whole matrix */

#endif
