/* tokenizer.json: normalizers, pre-tokenizers and decoders. Each is a row of a table; what has no row is refused by
 * name. The parts are those of the tokenizers crate, version 0.23. */
#include <string.h>
#include "base/mem.h"
#include "convert/tok_hf.h"
#include "convert/tok_pre.h"
#include "convert/tok_regex.h"

#define META "\xe2\x96\x81" /* U+2581, which stands for a space */

const char *nb_hf_type(const nb_value *part) {
    const char *type = nb_hf_text(part, "type");
    return type ? type : "";
}

bool nb_hf_flag(const nb_value *part, const char *key, bool missing) {
    const nb_value *v = nb_value_get(part, key);
    return v && v->kind == NB_VALUE_BOOL ? v->boolean : missing;
}

const char *nb_hf_text(const nb_value *part, const char *key) {
    const nb_value *v = nb_value_get(part, key);
    return v && v->kind == NB_VALUE_STR && strlen(v->text) == v->count ? v->text : NULL;
}

static bool is_none(const nb_value *v) {
    return !v || v->kind == NB_VALUE_NONE;
}

enum { MAX_NESTING = 8 };

typedef struct part_kind {
    const char *type;
    nb_status (*import)(nb_hf *h, const nb_value *part, nb_error *err);
} part_kind;

/* A part by its row; a "Sequence" of parts one after the other. */
static nb_status import(nb_hf *h, const nb_value *part, const char *what, const char *list, const part_kind *kinds,
                        int depth, nb_error *err) {
    const char *type = nb_hf_type(part);
    if (!strcmp(type, "Sequence")) {
        const nb_value *items = nb_value_get(part, list);
        if (!items || items->kind != NB_VALUE_LIST || depth == MAX_NESTING)
            return nb_fail(err, NB_FORMAT, "its %s Sequence has no list '%s', or lies too deep", what, list);
        nb_status st = NB_OK;
        for (size_t i = 0; !st && i < items->count; i++)
            st = import(h, items->items[i], what, list, kinds, depth + 1, err);
        return st;
    }
    for (; kinds->type; kinds++)
        if (!strcmp(type, kinds->type)) return kinds->import ? kinds->import(h, part, err) : NB_OK;
    return nb_fail(err, NB_UNSUPPORTED, "its %s '%.40s' is not known", what, type);
}

/* Text that a regular expression takes literally. */
static nb_status escape(const char *text, nb_buf *out, nb_error *err) {
    for (const char *p = text; *p; p++) {
        if (strchr("\\^$.[]|()?*+{}#-&~ ", *p)) nb_buf_byte(out, '\\');
        nb_buf_byte(out, (uint8_t)*p);
    }
    return out->failed ? nb_oom(err, "tokenizer pattern", strlen(text)) : NB_OK;
}

/* "pattern" of a part: {"String": text} or {"Regex": expression}. */
static const char *pattern_of(const nb_value *part, bool *regex) {
    const nb_value *pattern = nb_value_get(part, "pattern");
    const char *text = nb_hf_text(pattern, "Regex");
    *regex = text != NULL;
    if (!text) text = nb_hf_text(pattern, "String");
    return text && *text ? text : NULL;
}

/* ---- normalizers ---- */

static nb_status add_rule(nb_hf *h, nb_text_how how, uint32_t flags, const char *find, const char *text,
                          nb_error *err) {
    return nb_text_rules_add(&h->v->normalize, how, flags, find, text, err);
}

static nb_status form_nfc(nb_hf *h, const nb_value *part, nb_error *err) {
    (void)part;
    return add_rule(h, NB_TEXT_NFC, 0, NULL, NULL, err);
}
static nb_status form_nfd(nb_hf *h, const nb_value *part, nb_error *err) {
    (void)part;
    return add_rule(h, NB_TEXT_NFD, 0, NULL, NULL, err);
}
static nb_status form_nfkc(nb_hf *h, const nb_value *part, nb_error *err) {
    (void)part;
    return add_rule(h, NB_TEXT_NFKC, 0, NULL, NULL, err);
}
static nb_status form_nfkd(nb_hf *h, const nb_value *part, nb_error *err) {
    (void)part;
    return add_rule(h, NB_TEXT_NFKD, 0, NULL, NULL, err);
}
static nb_status lowercase(nb_hf *h, const nb_value *part, nb_error *err) {
    (void)part;
    return add_rule(h, NB_TEXT_LOWERCASE, 0, NULL, NULL, err);
}

static nb_status strip(nb_hf *h, const nb_value *part, nb_error *err) {
    uint32_t flags = (nb_hf_flag(part, "strip_left", true) ? NB_TEXT_LEFT : 0u) |
                     (nb_hf_flag(part, "strip_right", true) ? NB_TEXT_RIGHT : 0u);
    return add_rule(h, NB_TEXT_STRIP, flags, NULL, NULL, err);
}

static nb_status prepend(nb_hf *h, const nb_value *part, nb_error *err) {
    const char *text = nb_hf_text(part, "prepend");
    if (!text) return nb_fail(err, NB_FORMAT, "its normalizer Prepend has no text");
    return add_rule(h, NB_TEXT_PREPEND, 0, NULL, text, err);
}

static nb_status replace(nb_hf *h, const nb_value *part, nb_error *err) {
    bool regex;
    const char *find = pattern_of(part, &regex), *text = nb_hf_text(part, "content");
    nb_buf pattern = {0};
    if (!find || !text) return nb_fail(err, NB_FORMAT, "its normalizer Replace has no pattern or no content");
    nb_status st = regex ? nb_tok_regex(NB_DIALECT_ONIGURUMA, find, &pattern, err) : NB_OK;
    if (!st)
        st = add_rule(h, NB_TEXT_REPLACE, regex ? NB_TEXT_REGEX : 0, regex ? nb_buf_str(&pattern) : find, text, err);
    nb_buf_free(&pattern);
    return st;
}

/* SentencePiece's table of replacements in base64, and one only. */
static nb_status precompiled(nb_hf *h, const nb_value *part, nb_error *err) {
    const nb_value *map = nb_value_get(part, "precompiled_charsmap");
    if (!map || map->kind != NB_VALUE_STR || h->v->charsmap.size ||
        !nb_tok_from_base64(map->text, map->count, &h->v->charsmap))
        return nb_fail(err, NB_FORMAT, "its normalizer Precompiled has no charsmap in base64, or is the second one");
    if (h->v->charsmap.failed) return nb_oom(err, "charsmap", map->count);
    if (h->v->charsmap.size > NB_MAX_CHARSMAP)
        return nb_fail(err, NB_LIMIT, "its charsmap has %zu bytes", h->v->charsmap.size);
    return add_rule(h, NB_TEXT_CHARSMAP, NB_TEXT_GRAPHEMES, NULL, NULL, err);
}

nb_status nb_hf_normalizer(nb_hf *h, const nb_value *normalizer, nb_error *err) {
    static const part_kind kinds[] = {{"NFC", form_nfc},   {"NFD", form_nfd},         {"NFKC", form_nfkc},
                                      {"NFKD", form_nfkd}, {"Lowercase", lowercase},  {"Strip", strip},
                                      {"Prepend", prepend}, {"Replace", replace},
                                      {"Precompiled", precompiled}, {NULL, NULL}};
    return is_none(normalizer) ? NB_OK : import(h, normalizer, "normalizer", "normalizers", kinds, 0, err);
}

/* ---- pre-tokenizers ---- */

/* Behind ByteLevel, patterns meet text in its alphabet of bytes. */
static nb_status add_split(nb_hf *h, const char *pattern, nb_split_keep keep, bool invert, nb_error *err) {
    nb_split_rules *r = &h->v->split;
    nb_status st = nb_split_rules_add(r, pattern, strlen(pattern), keep, invert, err);
    if (!st) r->v[r->n - 1].bytes = h->bytes;
    return st;
}

/* "behavior" of a split by its name in the file. */
static bool keep_of(const nb_value *part, nb_split_keep *keep) {
    static const char *const names[NB_SPLIT_KEEP_COUNT] = {
        [NB_SPLIT_ISOLATED] = "Isolated",   [NB_SPLIT_REMOVED] = "Removed",
        [NB_SPLIT_PREVIOUS] = "MergedWithPrevious", [NB_SPLIT_NEXT] = "MergedWithNext",
        [NB_SPLIT_CONTIGUOUS] = "Contiguous"};
    const char *name = nb_hf_text(part, "behavior");
    for (int i = 0; name && i < NB_SPLIT_KEEP_COUNT; i++)
        if (!strcmp(name, names[i])) {
            *keep = (nb_split_keep)i;
            return true;
        }
    return false;
}

static nb_status split(nb_hf *h, const nb_value *part, nb_error *err) {
    bool regex;
    nb_split_keep keep = NB_SPLIT_ISOLATED;
    nb_buf pattern = {0};
    const char *text = pattern_of(part, &regex);
    if (!text || !keep_of(part, &keep))
        return nb_fail(err, NB_FORMAT, "its pre-tokenizer Split has no pattern or a behavior that is not known");
    nb_status st = regex ? nb_tok_regex(NB_DIALECT_ONIGURUMA, text, &pattern, err) : escape(text, &pattern, err);
    if (!st) st = add_split(h, nb_buf_str(&pattern), keep, nb_hf_flag(part, "invert", false), err);
    nb_buf_free(&pattern);
    return st;
}

static nb_status digits(nb_hf *h, const nb_value *part, nb_error *err) {
    bool each = nb_hf_flag(part, "individual_digits", false);
    return add_split(h, "\\p{N}", each ? NB_SPLIT_ISOLATED : NB_SPLIT_CONTIGUOUS, false, err);
}

static nb_status punctuation(nb_hf *h, const nb_value *part, nb_error *err) {
    nb_split_keep keep = NB_SPLIT_ISOLATED;
    if (nb_value_get(part, "behavior") && !keep_of(part, &keep))
        return nb_fail(err, NB_FORMAT, "its pre-tokenizer Punctuation has a behavior that is not known");
    return add_split(h, "[\\p{P}!-/:-@\\[-`{-~]", keep, false, err);
}

static nb_status whitespace(nb_hf *h, const nb_value *part, nb_error *err) {
    (void)part;
    /* Here it is Rust's \w, to which the joiners belong. */
    return add_split(h, "[\\w\\x{200c}\\x{200d}]+|[^\\w\\s\\x{200c}\\x{200d}]+", NB_SPLIT_REMOVED, true, err);
}

static const char white[] = "\\s";

static nb_status whitespace_split(nb_hf *h, const nb_value *part, nb_error *err) {
    (void)part;
    return add_split(h, white, NB_SPLIT_REMOVED, false, err);
}

/* Pre-tokenizers that change text do so to every piece that reaches them; here only the whole text can be changed, which
 * is the same as long as nothing was split before. */
static nb_status prepare(nb_hf *h, nb_text_how how, uint32_t flags, const char *find, const char *text,
                         nb_error *err) {
    if (h->v->split.n) return nb_fail(err, NB_UNSUPPORTED, "its pre-tokenizers change text behind one that splits it");
    return nb_text_rules_add(&h->v->prepare, how, flags, find, text, err);
}

static nb_status byte_level(nb_hf *h, const nb_value *part, nb_error *err) {
    nb_status st = NB_OK;
    if (h->bytes) return nb_fail(err, NB_UNSUPPORTED, "its pre-tokenizers spell bytes as ByteLevel does twice");
    if (nb_hf_flag(part, "add_prefix_space", true)) st = prepare(h, NB_TEXT_PREPEND, NB_TEXT_UNLESS, NULL, " ", err);
    if (!st && nb_hf_flag(part, "use_regex", true))
        st = add_split(h, NB_PRE_GPT2, NB_SPLIT_ISOLATED, false, err);
    h->bytes = true;
    return st;
}

/* Words apart by white space, then each with `meta` before it (but not twice): the same as one `meta` in place of every
 * run of white space, also where one stands behind it. */
static nb_status words_with(nb_hf *h, const char *meta, nb_error *err) {
    nb_buf find = {0};
    nb_split_rules_free(&h->v->split);
    nb_buf_text(&find, "\\s+(?:");
    nb_status st = escape(meta, &find, err);
    nb_buf_text(&find, ")?");
    if (!st && find.failed) st = nb_oom(err, "tokenizer pattern", find.size);
    if (!st) st = prepare(h, NB_TEXT_STRIP, NB_TEXT_LEFT | NB_TEXT_RIGHT, NULL, NULL, err);
    if (!st) st = prepare(h, NB_TEXT_REPLACE, NB_TEXT_REGEX, nb_buf_str(&find), meta, err);
    nb_buf_free(&find);
    return st;
}

static nb_status metaspace(nb_hf *h, const nb_value *part, nb_error *err) {
    const char *meta = nb_hf_text(part, "replacement"), *scheme = nb_hf_text(part, "prepend_scheme");
    if (!meta) meta = META;
    if (!scheme) scheme = nb_hf_flag(part, "add_prefix_space", true) ? "always" : "never";
    const nb_split_rules *before = &h->v->split;
    bool words = before->n == 1 && !strcmp(before->v[0].pattern, white) && !strcmp(scheme, "always");
    nb_status st = words ? words_with(h, meta, err) : prepare(h, NB_TEXT_REPLACE, 0, " ", meta, err);
    uint32_t first = !strcmp(scheme, "first") ? NB_TEXT_IF_FIRST : 0;
    if (!st && strcmp(scheme, "never") != 0) st = prepare(h, NB_TEXT_PREPEND, NB_TEXT_UNLESS | first, NULL, meta, err);
    if (st || !nb_hf_flag(part, "split", true)) return st;
    nb_buf pattern = {0};
    st = escape(meta, &pattern, err);
    if (!st) st = add_split(h, nb_buf_str(&pattern), NB_SPLIT_NEXT, false, err);
    nb_buf_free(&pattern);
    return st;
}

nb_status nb_hf_pre_tokenizer(nb_hf *h, const nb_value *pre, nb_error *err) {
    static const part_kind kinds[] = {{"Split", split},
                                      {"Digits", digits},
                                      {"Punctuation", punctuation},
                                      {"Whitespace", whitespace},
                                      {"WhitespaceSplit", whitespace_split},
                                      {"ByteLevel", byte_level},
                                      {"Metaspace", metaspace},
                                      {NULL, NULL}};
    return is_none(pre) ? NB_OK : import(h, pre, "pre-tokenizer", "pretokenizers", kinds, 0, err);
}

/* ---- decoders: only what tokens cannot say by themselves is kept ---- */

static nb_status set_space(nb_hf *h, const char *meta, nb_error *err) {
    nb_free(h->v->space);
    h->v->space = nb_strdup(meta);
    return h->v->space ? NB_OK : nb_oom(err, "vocabulary", strlen(meta));
}

static nb_status decode_replace(nb_hf *h, const nb_value *part, nb_error *err) {
    bool regex;
    const char *find = pattern_of(part, &regex), *text = nb_hf_text(part, "content");
    if (!find || regex || !text || strcmp(text, " ") != 0)
        return nb_fail(err, NB_UNSUPPORTED, "its decoder Replace does anything but turn a text into a space");
    return set_space(h, find, err);
}

static nb_status decode_strip(nb_hf *h, const nb_value *part, nb_error *err) {
    const char *text = nb_hf_text(part, "content");
    uint64_t start = 0, stop = 0;
    if (!text || strcmp(text, " ") != 0 || !nb_value_u64(nb_value_get(part, "start"), &start) || start != 1 ||
        !nb_value_u64(nb_value_get(part, "stop"), &stop) || stop)
        return nb_fail(err, NB_UNSUPPORTED, "its decoder Strip does anything but drop one space at the beginning");
    if (!h->fused)
        return nb_fail(err, NB_UNSUPPORTED, "its decoder Strip changes every token, as no Fuse joins them before");
    h->v->flags |= NB_VOCAB_STRIP;
    return NB_OK;
}

static nb_status decode_fuse(nb_hf *h, const nb_value *part, nb_error *err) {
    (void)part;
    (void)err;
    h->fused = true;
    return NB_OK;
}

static nb_status decode_metaspace(nb_hf *h, const nb_value *part, nb_error *err) {
    const char *meta = nb_hf_text(part, "replacement"), *scheme = nb_hf_text(part, "prepend_scheme");
    bool never = scheme ? !strcmp(scheme, "never") : !nb_hf_flag(part, "add_prefix_space", true);
    if (h->fused)
        return nb_fail(err, NB_UNSUPPORTED, "its decoder Metaspace stands behind Fuse, which joins all tokens");
    if (!never) h->v->flags |= NB_VOCAB_STRIP | NB_VOCAB_STRIP_ALL;
    return set_space(h, meta ? meta : META, err);
}

nb_status nb_hf_decoder(nb_hf *h, const nb_value *decoder, nb_error *err) {
    static const part_kind kinds[] = {{"ByteLevel", NULL},           {"ByteFallback", NULL},
                                      {"Fuse", decode_fuse},         {"Replace", decode_replace},
                                      {"Strip", decode_strip},       {"Metaspace", decode_metaspace},
                                      {NULL, NULL}};
    if (!is_none(decoder)) return import(h, decoder, "decoder", "decoders", kinds, 0, err);
    if (h->bytes) return NB_OK;
    return nb_fail(err, NB_UNSUPPORTED, "it has no decoder: where its tokens get spaces is not known");
}
