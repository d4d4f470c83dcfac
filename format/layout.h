/* Where every field of a .nbl file lies, and every limit. FORMAT.md says the same in words; a test compares the two.
 *
 * All numbers are little-endian. Offsets are from the start of the structure they belong to. "Reserved" bytes must be
 * zero and are refused otherwise; "unused" bytes are written as zero and ignored. */
#ifndef NB_FORMAT_LAYOUT_H
#define NB_FORMAT_LAYOUT_H

#include <stdint.h>

/* 0x89 has the top bit set, CR LF and the lone LF show a text-mode copy, 0x1a ends a listing: as in PNG. */
#define NB_MAGIC "\x89NBL\r\n\x1a\n"

enum {
    NB_MAGIC_BYTES = 8,
    NB_FILE_MAJOR = 1,
    NB_FILE_MINOR = 1,

    /* The header. Fields up to NB_H_FILE_BYTES, and the checksum in the last 8 of its bytes, stay in every version. */
    NB_H_MAGIC = 0,
    NB_H_MAJOR = 8,           /* u16 */
    NB_H_MINOR = 10,          /* u16 */
    NB_H_HEADER_BYTES = 12,   /* u32 */
    NB_H_FILE_BYTES = 16,     /* u64 */
    NB_H_IDENTITY = 24,       /* u64 */
    NB_H_DATA_OFFSET = 32,    /* u64 */
    NB_H_DATA_BYTES = 40,     /* u64 */
    NB_H_RAW_BYTES = 48,      /* u64, sum over all tensors */
    NB_H_MODEL = 56,          /* section descriptor */
    NB_H_PROVENANCE = 92,     /* section descriptor */
    NB_H_DIR_OFFSET = 128,    /* u64 */
    NB_H_DIR_HASH = 136,      /* u64, over records and names */
    NB_H_N_TENSORS = 144,     /* u32 */
    NB_H_NAMES_BYTES = 148,   /* u32 */
    NB_H_CHUNKS_OFFSET = 152, /* u64 */
    NB_H_CHUNKS_HASH = 160,   /* u64 */
    NB_H_N_CHUNKS = 168,      /* u32 */
    NB_H_RESERVED = 172,      /* 4 bytes */
    NB_H_UNUSED = 176,        /* 8 bytes */
    NB_H_HASH = 184,          /* u64, over all bytes of the header before it */
    NB_HEADER_BYTES = 192,
    NB_HEADER_MIN = 32, /* what any version's header takes at least and at most */
    NB_HEADER_MAX = 4096,

    /* A section descriptor: one JSON text. */
    NB_S_OFFSET = 0,       /* u64 */
    NB_S_STORED_BYTES = 8, /* u32 */
    NB_S_RAW_BYTES = 12,   /* u32 */
    NB_S_STORED_HASH = 16, /* u64 */
    NB_S_RAW_HASH = 24,    /* u64 */
    NB_S_METHOD = 32,      /* u8 */
    NB_S_RESERVED = 33,    /* 3 bytes */
    NB_SECTION_BYTES = 36,

    /* A tensor record of the directory. */
    NB_T_DIMS = 0,         /* 4 x u64 */
    NB_T_RAW_BYTES = 32,   /* u64 */
    NB_T_OFFSET = 40,      /* u64, of its first chunk */
    NB_T_FIRST_CHUNK = 48, /* u32 */
    NB_T_N_CHUNKS = 52,    /* u32 */
    NB_T_NAME_OFFSET = 56, /* u32, in the names */
    NB_T_NAME_BYTES = 60,  /* u8, without the final NUL */
    NB_T_TYPE = 61,        /* u8, quant/types.def */
    NB_T_LAYOUT = 62,      /* u8 */
    NB_T_N_DIMS = 63,      /* u8 */
    NB_T_CODEBOOK = 64,    /* 16 x i8 */
    NB_T_RESERVED = 80,    /* 4 bytes */
    NB_T_UNUSED = 84,      /* 4 bytes */
    NB_TENSOR_BYTES = 88,

    /* A record of the chunk table. */
    NB_C_OFFSET = 0,        /* u64 */
    NB_C_STORED_BYTES = 8,  /* u32 */
    NB_C_RAW_BYTES = 12,    /* u32 */
    NB_C_RAW_HASH = 16,     /* u64, over the bytes as in memory */
    NB_C_STORED_HASH = 24,  /* u64, over the bytes as in the file */
    NB_C_FORM = 32,         /* u8 */
    NB_C_METHOD = 33,       /* u8 */
    NB_C_RESERVED = 34,     /* 6 bytes */
    NB_CHUNK_RECORD_BYTES = 40,

    /* Alignments that the writer keeps. */
    NB_ALIGN_SECTION = 8, /* sections and tables */
    NB_ALIGN_TENSOR = 64, /* tensors of a raw file */
    NB_ALIGN_DATA = 4096, /* the data area of a raw file */

    /* Limits that the reader enforces. */
    NB_MAX_GAP = 4095,            /* zero bytes between two neighbours in the file */
    NB_MAX_TENSORS = 1 << 20,
    NB_MAX_NAME = 255,
    NB_MAX_JSON = 64 << 20,       /* raw bytes of one section */
    NB_MAX_PANEL_COLS = 1 << 20,  /* so that one panel, and with it one chunk, is at most 64 MiB */
    NB_MAX_CHUNK = 64 << 20,
    NB_CHUNK_TARGET = 1 << 20,    /* raw bytes of a chunk, as far as whole panels allow */
    NB_MAX_WINDOW_LOG = 27        /* of a zstd frame */
};
#define NB_MAX_RAW_BYTES (UINT64_C(1) << 48) /* one tensor, and all together */

#endif
