#include "core/unicode.h"

#include <utf8proc.h>
#include "core/utf8.h"

bool nb_is_white_space(uint32_t c) {
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool nb_is_word(uint32_t c) {
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) ||
           category == UTF8PROC_CATEGORY_PC || c == 0x200c || c == 0x200d;
}

uint32_t nb_first_character(const uint8_t *text, size_t n, size_t *length) {
    bool valid = n && nb_utf8_next(text, n, length) == NB_UTF8_VALID;
    if (!valid) *length = 0;
    return valid ? nb_utf8_decode(text, *length) : 0;
}

uint32_t nb_last_character(const uint8_t *text, size_t n, size_t *length) {
    size_t back = 1;
    *length = 0;
    while (back < n && back < 4 && (text[n - back] & 0xc0) == 0x80) back++;
    uint32_t c = n ? nb_first_character(text + n - back, back, length) : 0;
    if (*length != back) *length = 0;
    return *length ? c : 0;
}
