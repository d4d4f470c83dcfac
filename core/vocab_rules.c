#include "core/vocab_rules.h"

#include <string.h>
#include "base/mem.h"

static const struct {
    const char *name;
    bool find, text;
    uint32_t flags;
} text_kinds[NB_TEXT_COUNT] = {
#define TEXT_RULE(name, NAME, find, text, flags) [NB_TEXT_##NAME] = {name, find, text, flags},
#include "core/text_rules.def"
#undef TEXT_RULE
};

static const struct {
    const char *name;
    uint32_t flag;
} text_flags[] = {{"first", NB_TEXT_IF_FIRST},
                  {"unless", NB_TEXT_UNLESS},
                  {"left", NB_TEXT_LEFT},
                  {"right", NB_TEXT_RIGHT},
                  {"regex", NB_TEXT_REGEX},
                  {"graphemes", NB_TEXT_GRAPHEMES},
                  {"user", NB_TEXT_USER},
                  {"any", NB_TEXT_ANY}};
enum { N_TEXT_FLAGS = sizeof text_flags / sizeof *text_flags };

static const char *const keep_names[NB_SPLIT_KEEP_COUNT] = {
    [NB_SPLIT_ISOLATED] = "isolated", [NB_SPLIT_REMOVED] = "removed",       [NB_SPLIT_PREVIOUS] = "previous",
    [NB_SPLIT_NEXT] = "next",         [NB_SPLIT_CONTIGUOUS] = "contiguous",
};

const char *nb_split_keep_name(size_t i) {
    return i < NB_SPLIT_KEEP_COUNT ? keep_names[i] : NULL;
}

/* Room for one more element behind n of `size` bytes. */
static void *grow(void *v, size_t n, size_t size, nb_status *st, nb_error *err) {
    void *grown = n < NB_MAX_RULES ? nb_realloc(v, n * size, (n + 1) * size) : NULL;
    if (n >= NB_MAX_RULES) *st = nb_fail(err, NB_LIMIT, "vocabulary: more than %d rules of a kind", (int)NB_MAX_RULES);
    else *st = grown ? NB_OK : nb_oom(err, "rules of a vocabulary", (n + 1) * size);
    return grown;
}

nb_status nb_text_rules_add(nb_text_rules *r, nb_text_how how, uint32_t flags, const char *find, const char *text,
                            nb_error *err) {
    nb_status st;
    nb_text_rule *v = grow(r->v, r->n, sizeof *v, &st, err);
    if (st) return st;
    r->v = v;
    nb_text_rule rule = {.how = how, .flags = flags};
    rule.find = find ? nb_strdup(find) : NULL;
    rule.text = text ? nb_strdup(text) : NULL;
    r->v[r->n++] = rule;
    return (find && !rule.find) || (text && !rule.text) ? nb_oom(err, "rules of a vocabulary", sizeof *v) : NB_OK;
}

nb_status nb_split_rules_add(nb_split_rules *r, const char *pattern, size_t n, nb_split_keep keep, bool invert,
                             nb_error *err) {
    nb_status st;
    if (memchr(pattern, 0, n)) return nb_fail(err, NB_FORMAT, "vocabulary: the pattern holds a NUL");
    nb_split_rule *v = grow(r->v, r->n, sizeof *v, &st, err);
    if (st) return st;
    r->v = v;
    char *copy = nb_strndup(pattern, n);
    if (!copy) return nb_oom(err, "tokenizer pattern", n);
    r->v[r->n++] = (nb_split_rule){.pattern = copy, .keep = keep, .invert = invert};
    return NB_OK;
}

void nb_text_rules_free(nb_text_rules *r) {
    for (size_t i = 0; i < r->n; i++) {
        nb_free(r->v[i].find);
        nb_free(r->v[i].text);
    }
    nb_free(r->v);
    *r = (nb_text_rules){0};
}

void nb_split_rules_free(nb_split_rules *r) {
    for (size_t i = 0; i < r->n; i++) nb_free(r->v[i].pattern);
    nb_free(r->v);
    *r = (nb_split_rules){0};
}

/* ---- as JSON ---- */

/* Append `item` (a new reference, or NULL) to `list`; 0 when it is there. */
static int put(json_t *list, json_t *item, int bad) {
    int failed = bad || !item || json_array_append(list, item);
    json_decref(item);
    return failed;
}

static json_t *finish(json_t *list, int bad) {
    if (!bad) return list;
    json_decref(list);
    return NULL;
}

json_t *nb_text_rules_to_json(const nb_text_rules *r) {
    json_t *list = json_array();
    int bad = !list;
    for (size_t i = 0; i < r->n && !bad; i++) {
        const nb_text_rule *rule = &r->v[i];
        json_t *o = json_pack("{s:s}", "do", text_kinds[rule->how].name);
        bad = !o;
        if (!bad && rule->find) bad = json_object_set_new(o, "find", json_string(rule->find));
        if (!bad && rule->text) bad = json_object_set_new(o, "text", json_string(rule->text));
        for (size_t f = 0; f < N_TEXT_FLAGS && !bad; f++)
            if (rule->flags & text_flags[f].flag) bad = json_object_set_new(o, text_flags[f].name, json_true());
        bad = put(list, o, bad);
    }
    return finish(list, bad);
}

/* A pattern of which every match is a piece is the common case: its text alone. */
json_t *nb_split_rules_to_json(const nb_split_rules *r) {
    json_t *list = json_array();
    int bad = !list;
    for (size_t i = 0; i < r->n && !bad; i++) {
        const nb_split_rule *rule = &r->v[i];
        bool plain = rule->keep == NB_SPLIT_ISOLATED && !rule->invert && !rule->bytes;
        json_t *o = plain ? json_string(rule->pattern)
                          : json_pack("{s:s, s:s}", "pattern", rule->pattern, "keep", keep_names[rule->keep]);
        bad = !o || (rule->invert && json_object_set_new(o, "invert", json_true())) ||
              (rule->bytes && json_object_set_new(o, "bytes", json_true()));
        bad = put(list, o, bad);
    }
    return finish(list, bad);
}

static nb_status wrong(nb_error *err, const char *key, const char *what) {
    return nb_fail(err, NB_FORMAT, "tokenizer object: \"%s\" %s", key, what);
}

/* A string without NUL under `key`, or NULL. */
static const char *text_of(const json_t *o, const char *key) {
    const json_t *s = json_object_get(o, key);
    const char *text = json_string_value(s);
    return text && strlen(text) == json_string_length(s) ? text : NULL;
}

static nb_status text_rule_from_json(nb_text_rules *r, const char *key, const json_t *o, nb_error *err) {
    const char *name = text_of(o, "do");
    size_t how = 0, known = 1;
    while (name && how < NB_TEXT_COUNT && strcmp(text_kinds[how].name, name) != 0) how++;
    if (!name || how == NB_TEXT_COUNT) {
        if (!name) return wrong(err, key, "holds a rule without a name under \"do\"");
        return nb_fail(err, NB_UNSUPPORTED, "tokenizer object: \"%s\" holds the rule '%.40s', which is not known", key,
                       name);
    }
    const char *find = text_of(o, "find"), *text = text_of(o, "text");
    if (text_kinds[how].find != (find != NULL) || text_kinds[how].text != (text != NULL) || (find && !*find))
        return wrong(err, key, "holds a rule that lacks a text or has one too many");
    uint32_t flags = 0;
    known += (find ? 1u : 0u) + (text ? 1u : 0u);
    for (size_t f = 0; f < N_TEXT_FLAGS; f++) {
        const json_t *flag = json_object_get(o, text_flags[f].name);
        if (!flag) continue;
        if (!json_is_true(flag) || !(text_kinds[how].flags & text_flags[f].flag))
            return wrong(err, key, "holds a rule with a flag that it cannot have");
        flags |= text_flags[f].flag;
        known++;
    }
    if (json_object_size(o) != known) return wrong(err, key, "holds a rule with a key that is not known");
    return nb_text_rules_add(r, (nb_text_how)how, flags, find, text, err);
}

nb_status nb_text_rules_from_json(nb_text_rules *r, const char *key, const json_t *value, nb_error *err) {
    if (!json_is_array(value)) return wrong(err, key, "is not an array");
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < json_array_size(value); i++)
        st = text_rule_from_json(r, key, json_array_get(value, i), err);
    return st;
}

static nb_status split_rule_from_json(nb_split_rules *r, const char *key, const json_t *o, nb_error *err) {
    if (json_is_string(o))
        return nb_split_rules_add(r, json_string_value(o), json_string_length(o), NB_SPLIT_ISOLATED, false, err);
    const char *pattern = text_of(o, "pattern"), *name = text_of(o, "keep");
    const json_t *invert = json_object_get(o, "invert"), *bytes = json_object_get(o, "bytes");
    size_t keep = 0;
    while (name && keep < NB_SPLIT_KEEP_COUNT && strcmp(keep_names[keep], name) != 0) keep++;
    if (!pattern || !name || keep == NB_SPLIT_KEEP_COUNT || (invert && !json_is_true(invert)) ||
        (bytes && !json_is_true(bytes)) || json_object_size(o) != 2u + (invert ? 1u : 0u) + (bytes ? 1u : 0u))
        return wrong(err, key, "holds what is neither a pattern nor a {pattern, keep}");
    nb_status st = nb_split_rules_add(r, pattern, strlen(pattern), (nb_split_keep)keep, invert != NULL, err);
    if (!st) r->v[r->n - 1].bytes = bytes != NULL;
    return st;
}

nb_status nb_split_rules_from_json(nb_split_rules *r, const char *key, const json_t *value, nb_error *err) {
    if (!json_is_array(value)) return wrong(err, key, "is not an array");
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < json_array_size(value); i++)
        st = split_rule_from_json(r, key, json_array_get(value, i), err);
    return st;
}
