/* format/FORMAT.md says what format/layout.h says, and its example is what the writer writes. */
#include <xxhash.h>
#include "base/bytes.h"
#include "format/form.h"
#include "tests/test_format_util.h"

static const char file_name[] = "test_format_spec.nbl";
static const char document[] = NIBBLE_TEST_DATA "/../format/FORMAT.md";

/* Each field's row must be in the document, below its structure's heading. */
static const struct field {
    const char *heading;
    int offset, bytes;
    const char *name;
} fields[] = {
    {"## 2. Header", NB_H_MAGIC, NB_MAGIC_BYTES, "magic"},
    {"## 2. Header", NB_H_MAJOR, 2, "major"},
    {"## 2. Header", NB_H_MINOR, 2, "minor"},
    {"## 2. Header", NB_H_HEADER_BYTES, 4, "header_bytes"},
    {"## 2. Header", NB_H_FILE_BYTES, 8, "file_bytes"},
    {"## 2. Header", NB_H_IDENTITY, 8, "identity"},
    {"## 2. Header", NB_H_DATA_OFFSET, 8, "data_offset"},
    {"## 2. Header", NB_H_DATA_BYTES, 8, "data_bytes"},
    {"## 2. Header", NB_H_RAW_BYTES, 8, "raw_bytes"},
    {"## 2. Header", NB_H_MODEL, NB_SECTION_BYTES, "model"},
    {"## 2. Header", NB_H_PROVENANCE, NB_SECTION_BYTES, "provenance"},
    {"## 2. Header", NB_H_DIR_OFFSET, 8, "directory_offset"},
    {"## 2. Header", NB_H_DIR_HASH, 8, "directory_hash"},
    {"## 2. Header", NB_H_N_TENSORS, 4, "n_tensors"},
    {"## 2. Header", NB_H_NAMES_BYTES, 4, "names_bytes"},
    {"## 2. Header", NB_H_CHUNKS_OFFSET, 8, "chunks_offset"},
    {"## 2. Header", NB_H_CHUNKS_HASH, 8, "chunks_hash"},
    {"## 2. Header", NB_H_N_CHUNKS, 4, "n_chunks"},
    {"## 2. Header", NB_H_RESERVED, 4, "reserved"},
    {"## 2. Header", NB_H_UNUSED, 8, "unused"},
    {"## 2. Header", NB_H_HASH, 8, "header_hash"},
    {"## 3. Sections", NB_S_OFFSET, 8, "offset"},
    {"## 3. Sections", NB_S_STORED_BYTES, 4, "stored_bytes"},
    {"## 3. Sections", NB_S_RAW_BYTES, 4, "raw_bytes"},
    {"## 3. Sections", NB_S_STORED_HASH, 8, "stored_hash"},
    {"## 3. Sections", NB_S_RAW_HASH, 8, "raw_hash"},
    {"## 3. Sections", NB_S_METHOD, 1, "method"},
    {"## 3. Sections", NB_S_RESERVED, 3, "reserved"},
    {"## 4. Directory", NB_T_DIMS, 8 * NB_MAX_DIMS, "dims"},
    {"## 4. Directory", NB_T_RAW_BYTES, 8, "raw_bytes"},
    {"## 4. Directory", NB_T_OFFSET, 8, "offset"},
    {"## 4. Directory", NB_T_FIRST_CHUNK, 4, "first_chunk"},
    {"## 4. Directory", NB_T_N_CHUNKS, 4, "n_chunks"},
    {"## 4. Directory", NB_T_NAME_OFFSET, 4, "name_offset"},
    {"## 4. Directory", NB_T_NAME_BYTES, 1, "name_bytes"},
    {"## 4. Directory", NB_T_TYPE, 1, "type"},
    {"## 4. Directory", NB_T_LAYOUT, 1, "layout"},
    {"## 4. Directory", NB_T_N_DIMS, 1, "n_dims"},
    {"## 4. Directory", NB_T_CODEBOOK, NB_CODEBOOK_SIZE, "codebook"},
    {"## 4. Directory", NB_T_RESERVED, 4, "reserved"},
    {"## 4. Directory", NB_T_UNUSED, 4, "unused"},
    {"## 5. Chunks", NB_C_OFFSET, 8, "offset"},
    {"## 5. Chunks", NB_C_STORED_BYTES, 4, "stored_bytes"},
    {"## 5. Chunks", NB_C_RAW_BYTES, 4, "raw_bytes"},
    {"## 5. Chunks", NB_C_RAW_HASH, 8, "raw_hash"},
    {"## 5. Chunks", NB_C_STORED_HASH, 8, "stored_hash"},
    {"## 5. Chunks", NB_C_FORM, 1, "form"},
    {"## 5. Chunks", NB_C_METHOD, 1, "method"},
    {"## 5. Chunks", NB_C_RESERVED, 6, "reserved"},
};

static const struct {
    const char *what;
    unsigned long value;
    const char *unit;
} limits[] = {
    {"gap between neighbours", NB_MAX_GAP, " bytes"},
    {"raw bytes of a section", NB_MAX_JSON, ""},
    {"tensors", NB_MAX_TENSORS, ""},
    {"bytes of a name", NB_MAX_NAME, ""},
    {"columns of a panel matrix", NB_MAX_PANEL_COLS, ""},
    {"raw bytes of a chunk", NB_MAX_CHUNK, ""},
};

static void read_document(nb_buf *text) {
    read_bytes(document, text);
}

static void expect_in_section(const char *text, const char *heading, const char *row) {
    const char *from = strstr(text, heading), *to = from ? strstr(from + 1, "\n## ") : NULL;
    const char *hit = from ? strstr(from, row) : NULL;
    if (!hit || (to && hit > to)) fail_msg("the document lacks \"%s\" under \"%s\"", row, heading);
}

static void tables(void **state) {
    (void)state;
    nb_buf text = {0};
    char row[256];
    read_document(&text);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const struct field *f = &fields[i];
        snprintf(row, sizeof row, "\n| %d | %d | `%s` |", f->offset, f->bytes, f->name);
        expect_in_section(nb_buf_str(&text), f->heading, row);
        /* The fields of a structure leave no hole. */
        if (i > 0 && strcmp(f->heading, fields[i - 1].heading) == 0)
            assert_int_equal(f->offset, fields[i - 1].offset + fields[i - 1].bytes);
    }
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        snprintf(row, sizeof row, "\n| %s | %lu%s |", limits[i].what, limits[i].value, limits[i].unit);
        expect_in_section(nb_buf_str(&text), "## 6. Limits", row);
    }
    for (int i = 0; i < NB_TYPE_COUNT; i++) {
        const nb_type_info *t = &nb_types[i];
        char plain[16] = "-", block[16] = "-";
        if (t->plain_bytes) snprintf(plain, sizeof plain, "%d", t->plain_bytes);
        if (t->block_bytes) snprintf(block, sizeof block, "%d", t->block_bytes);
        snprintf(row, sizeof row, "\n| `%s` | %d | %s | %s |", t->name, t->code, plain, block);
        expect_in_section(nb_buf_str(&text), "## 4. Directory", row);
    }
    for (int i = 0; i < NB_FORM_COUNT; i++) {
        snprintf(row, sizeof row, "\n| %s | %d | ", nb_form_infos[i].name, i);
        expect_in_section(nb_buf_str(&text), "## 5. Chunks", row);
    }
    nb_buf_free(&text);
}

/* The example of section 10, put together from what its text says. */
static void write_example(void) {
    enum { PANEL = 64 + 64 + 256 };
    nb_error err;
    nb_writer *w;
    nb_tensor tok = {.name = "tok", .type = NB_TYPE_U8, .n_dims = 1, .dims = {5}};
    nb_tensor matrix = {.name = "w", .type = NB_TYPE_Q4, .layout = NB_LAYOUT_PANELS, .n_dims = 2, .dims = {2, 8}};
    uint8_t panel[PANEL] = {0}, *line = panel + 64, *codes = panel + 128;
    for (int i = 0; i < NB_CODEBOOK_SIZE; i++) matrix.codebook[i] = (int8_t)(8 * i - 64);
    nb_put_f32(panel, 0.5f);
    nb_put_f32(panel + 4, 1.0f);
    line[0] = 2;
    line[1] = 0xff;
    for (int c = 0; c < 8; c++) {
        int shift = c % 8 < 4 ? 0 : 4, at = c / 8 * 64 + c % 4;
        codes[at] |= (uint8_t)(c << shift);
        codes[at + 4] |= (uint8_t)((15 - c) << shift);
    }
    OK(nb_writer_create(&w, file_name, &(nb_writer_options){.store = NB_STORE_RAW, .overwrite = true}, &err));
    OK(nb_writer_tensor_begin(w, &tok, &err));
    OK(nb_writer_tensor_append(w, "hello", 5, &err));
    OK(nb_writer_tensor_end(w, &err));
    OK(nb_writer_tensor_begin(w, &matrix, &err));
    OK(nb_writer_tensor_append(w, panel, sizeof panel, &err));
    OK(nb_writer_tensor_end(w, &err));
    OK(nb_writer_commit(w, "{\"name\":\"example\"}", "{\"source\":\"FORMAT.md\"}", NULL, NULL, &err));
    nb_writer_close(w);
}

static void dump(const nb_buf *bytes, nb_buf *out) {
    bool starred = false;
    for (size_t at = 0; at < bytes->size; at += 16) {
        size_t n = bytes->size - at < 16 ? bytes->size - at : 16;
        const uint8_t *p = bytes->data + at;
        if (at > 0 && n == 16 && memcmp(p, p - 16, 16) == 0) {
            if (!starred) nb_buf_text(out, "*\n");
            starred = true;
            continue;
        }
        starred = false;
        nb_buf_printf(out, "%08zx ", at);
        for (size_t i = 0; i < 16; i++) {
            if (i < n) nb_buf_printf(out, "%s%02x", i == 8 ? "  " : " ", p[i]);
            else nb_buf_text(out, i == 8 ? "    " : "   ");
        }
        nb_buf_text(out, "  |");
        for (size_t i = 0; i < n; i++) nb_buf_byte(out, p[i] >= 0x20 && p[i] <= 0x7e ? p[i] : '.');
        nb_buf_text(out, "|\n");
    }
}

static void example(void **state) {
    (void)state;
    nb_buf text = {0}, bytes = {0}, want = {0};
    read_document(&text);
    write_example();
    read_bytes(file_name, &bytes);
    dump(&bytes, &want);
    const char *begin = strstr(nb_buf_str(&text), "<!-- example begins -->\n```\n");
    assert_non_null(begin);
    begin += strlen("<!-- example begins -->\n```\n");
    const char *end = strstr(begin, "```\n");
    assert_non_null(end);
    if ((size_t)(end - begin) != want.size || memcmp(begin, nb_buf_str(&want), want.size) != 0) {
        printf("%s", nb_buf_str(&want)); /* too long for cmocka's messages; paste it into the document */
        fail_msg("the example of the document is not what the writer writes, which is printed above");
    }
    nb_buf_free(&text);
    nb_buf_free(&bytes);
    nb_buf_free(&want);
    unlink(file_name);
}

/* The identity by the words of section 7, from the example's bytes alone. */
static void identity_of_example(void **state) {
    (void)state;
    nb_buf bytes = {0}, canon = {0};
    write_example();
    read_bytes(file_name, &bytes);
    const uint8_t *h = bytes.data, *dir = h + nb_get_u64(h + 128), *chunks = h + nb_get_u64(h + 152);
    nb_buf_append(&canon, "NBL-ID-1", 8);
    nb_buf_append(&canon, h + 56 + 24, 8);
    nb_buf_append(&canon, h + 144, 4);
    for (uint32_t i = 0; i < 2; i++) {
        const uint8_t *t = dir + i * 88;
        nb_buf_append(&canon, t + 60, 1);
        nb_buf_append(&canon, dir + 2 * 88 + nb_get_u32(t + 56), t[60]);
        nb_buf_append(&canon, t + 61, 3);
        nb_buf_append(&canon, t, 8 * (size_t)t[63]);
        nb_buf_append(&canon, t + 64, 16);
        nb_buf_append(&canon, t + 52, 4);
        nb_buf_append(&canon, chunks + 40 * nb_get_u32(t + 48) + 16, 8);
    }
    assert_int_equal(XXH3_64bits(canon.data, canon.size), nb_get_u64(h + 24));
    nb_buf_free(&bytes);
    nb_buf_free(&canon);
    unlink(file_name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables),
        cmocka_unit_test(example),
        cmocka_unit_test(identity_of_example),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
