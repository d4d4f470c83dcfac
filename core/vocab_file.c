/* A vocabulary in the file: the "tokenizer" object. vocab_tensors.c has the tensors. */
#include <string.h>
#include "base/mem.h"
#include "core/tokenizer_kinds.h"

/* The ids that are single numbers in the object. */
static const struct {
    const char *key;
    size_t offset;
} id_keys[] = {{"bos", offsetof(nb_vocab, bos)},
               {"eos", offsetof(nb_vocab, eos)},
               {"unk", offsetof(nb_vocab, unk)},
               {"pad", offsetof(nb_vocab, pad)}};
enum { N_ID_KEYS = sizeof id_keys / sizeof *id_keys };

static int32_t *id_field(nb_vocab *v, size_t i) {
    return (int32_t *)(void *)((char *)v + id_keys[i].offset);
}

/* What is true or absent. */
static const struct {
    const char *key;
    uint32_t flag;
} flag_keys[] = {{"characters", NB_VOCAB_CHARACTERS}, {"byte_fallback", NB_VOCAB_BYTE_FALLBACK},
                 {"fuse_unk", NB_VOCAB_FUSE_UNK},     {"whole", NB_VOCAB_WHOLE},
                 {"strip", NB_VOCAB_STRIP},           {"f32", NB_VOCAB_F32},
                 {"strip_each", NB_VOCAB_STRIP_EACH}, {"strip_all", NB_VOCAB_STRIP_ALL}},
  special_keys[] = {{"text", NB_SPECIAL_TEXT}, {"normalized", NB_SPECIAL_NORMALIZED}, {"late", NB_SPECIAL_LATE},
                    {"word", NB_SPECIAL_WORD}, {"lstrip", NB_SPECIAL_LSTRIP},         {"rstrip", NB_SPECIAL_RSTRIP}};
enum {
    N_FLAG_KEYS = sizeof flag_keys / sizeof *flag_keys,
    N_SPECIAL_KEYS = sizeof special_keys / sizeof *special_keys
};

static json_t *special_json(const nb_special *s) {
    json_t *o = json_pack("{s:s, s:i}", "text", s->text, "id", (int)s->id), *flags = s->flags ? json_array() : NULL;
    int bad = !o || (s->flags && !flags);
    for (size_t i = 0; flags && i < N_SPECIAL_KEYS; i++)
        if (s->flags & special_keys[i].flag) bad |= json_array_append_new(flags, json_string(special_keys[i].key));
    if (!bad && flags) bad = json_object_set(o, "flags", flags);
    json_decref(flags);
    if (!bad) return o;
    json_decref(o);
    return NULL;
}

static int put_specials(json_t *object, const nb_vocab *v) {
    json_t *list = json_array();
    int bad = 0;
    for (size_t i = 0; i < v->n_specials; i++) bad |= json_array_append_new(list, special_json(&v->specials[i]));
    return json_object_set_new(object, "specials", list) | bad;
}

static int put_rules(json_t *object, const nb_vocab *v) {
    int bad = v->split.n ? json_object_set_new(object, "split", nb_split_rules_to_json(&v->split)) : 0;
    if (!bad && v->normalize.n) bad = json_object_set_new(object, "normalize", nb_text_rules_to_json(&v->normalize));
    if (!bad && v->prepare.n) bad = json_object_set_new(object, "prepare", nb_text_rules_to_json(&v->prepare));
    if (!bad && v->space) bad = json_object_set_new(object, "space", json_string(v->space));
    for (size_t i = 0; !bad && i < N_FLAG_KEYS; i++)
        if (v->flags & flag_keys[i].flag) bad = json_object_set_new(object, flag_keys[i].key, json_true());
    return bad;
}

json_t *nb_vocab_to_json(const nb_vocab *v) {
    nb_vocab copy = *v; /* only to reach the id fields by offset without casting const away */
    json_t *object = json_object(), *stops = json_array();
    int bad = !object || !stops || (unsigned)v->kind >= NB_VOCAB_KIND_COUNT;
    if (!bad) bad = json_object_set_new(object, "kind", json_string(nb_tokenizer_kinds[v->kind]->name));
    if (!bad) bad = put_rules(object, v);
    if (!bad) bad = put_specials(object, v);
    for (size_t i = 0; !bad && i < N_ID_KEYS; i++)
        if (*id_field(&copy, i) != NB_NO_TOKEN)
            bad = json_object_set_new(object, id_keys[i].key, json_integer(*id_field(&copy, i)));
    for (size_t i = 0; !bad && i < v->n_stops; i++) bad = json_array_append_new(stops, json_integer(v->stops[i]));
    if (!bad) bad = json_object_set(object, "stops", stops);
    json_decref(stops);
    if (!bad) return object;
    json_decref(object);
    return NULL;
}

static nb_status wrong(nb_error *err, const char *key, const char *expected) {
    return nb_fail(err, NB_FORMAT, "tokenizer object: \"%s\" is not %s", key, expected);
}

static nb_status get_id(const json_t *value, const char *key, int32_t *id, nb_error *err) {
    json_int_t n = json_integer_value(value); /* 0 when it is no integer */
    if (!json_is_integer(value) || n < 0 || n >= NB_MAX_VOCAB) return wrong(err, key, "a token id");
    *id = (int32_t)n;
    return NB_OK;
}

static nb_status get_kind(nb_vocab *v, const json_t *value, nb_error *err) {
    const char *name = json_string_value(value);
    if (!name) return wrong(err, "kind", "a string");
    for (size_t i = 0; i < NB_VOCAB_KIND_COUNT; i++) {
        if (strcmp(name, nb_tokenizer_kinds[i]->name) != 0) continue;
        v->kind = (nb_vocab_kind)i;
        return NB_OK;
    }
    return nb_fail(err, NB_UNSUPPORTED, "tokenizer object: kind '%.80s' is not known", name);
}

static nb_status get_split(nb_vocab *v, const json_t *value, nb_error *err) {
    return nb_split_rules_from_json(&v->split, "split", value, err);
}
static nb_status get_normalize(nb_vocab *v, const json_t *value, nb_error *err) {
    return nb_text_rules_from_json(&v->normalize, "normalize", value, err);
}
static nb_status get_prepare(nb_vocab *v, const json_t *value, nb_error *err) {
    return nb_text_rules_from_json(&v->prepare, "prepare", value, err);
}

static nb_status get_space(nb_vocab *v, const json_t *value, nb_error *err) {
    const char *text = json_string_value(value);
    if (!text || !*text || strlen(text) != json_string_length(value)) return wrong(err, "space", "a text");
    v->space = nb_strdup(text);
    return v->space ? NB_OK : nb_oom(err, "vocabulary", strlen(text));
}

static nb_status get_special_flags(const json_t *list, uint32_t *flags, nb_error *err) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        size_t k = 0;
        while (name && k < N_SPECIAL_KEYS && strcmp(name, special_keys[k].key) != 0) k++;
        if (!name || k == N_SPECIAL_KEYS) return wrong(err, "specials", "with flags that are known");
        *flags |= special_keys[k].flag;
    }
    return NB_OK;
}

static nb_status get_specials(nb_vocab *v, const json_t *value, nb_error *err) {
    if (!json_is_array(value)) return wrong(err, "specials", "an array");
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *entry = json_array_get(value, i), *text = json_object_get(entry, "text"),
                     *list = json_object_get(entry, "flags");
        int32_t id = NB_NO_TOKEN;
        uint32_t flags = 0;
        if (!json_is_string(text) || (list && !json_is_array(list)) || json_object_size(entry) != (list ? 3 : 2))
            return wrong(err, "specials", "an array of {text, id} or {text, id, flags}");
        nb_status st = get_id(json_object_get(entry, "id"), "specials", &id, err);
        if (!st && (uint32_t)id >= v->n_tokens) st = wrong(err, "specials", "within the vocabulary");
        if (!st) st = get_special_flags(list, &flags, err);
        if (!st) st = nb_vocab_add_special(v, json_string_value(text), json_string_length(text), id, flags, err);
        if (st) return st;
    }
    return NB_OK;
}

static nb_status get_stops(nb_vocab *v, const json_t *value, nb_error *err) {
    if (!json_is_array(value)) return wrong(err, "stops", "an array");
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < json_array_size(value); i++) {
        int32_t id = NB_NO_TOKEN;
        st = get_id(json_array_get(value, i), "stops", &id, err);
        if (!st) st = nb_vocab_add_stop(v, id, err);
    }
    return st;
}

static const struct {
    const char *key;
    nb_status (*get)(nb_vocab *v, const json_t *value, nb_error *err);
} fields[] = {{"kind", get_kind}, {"split", get_split},       {"normalize", get_normalize},
              {"prepare", get_prepare}, {"space", get_space}, {"specials", get_specials}, {"stops", get_stops}};

static nb_status get_field(nb_vocab *v, const char *key, const json_t *value, nb_error *err) {
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(key, fields[i].key) == 0) return fields[i].get(v, value, err);
    for (size_t i = 0; i < N_ID_KEYS; i++)
        if (strcmp(key, id_keys[i].key) == 0) return get_id(value, key, id_field(v, i), err);
    for (size_t i = 0; i < N_FLAG_KEYS; i++) {
        if (strcmp(key, flag_keys[i].key) != 0) continue;
        v->flags |= flag_keys[i].flag;
        return json_is_true(value) ? NB_OK : wrong(err, key, "true");
    }
    return nb_fail(err, NB_UNSUPPORTED, "tokenizer object: \"%.80s\" is not known to this version", key);
}

static nb_status load(nb_vocab *v, const json_t *object, const nb_reader *reader, nb_error *err) {
    if (!json_is_object(object)) return nb_fail(err, NB_FORMAT, "tokenizer object: it is not an object");
    if (!json_object_get(object, "kind")) return nb_fail(err, NB_FORMAT, "tokenizer object: \"kind\" is missing");
    nb_status st = nb_vocab_load_tensors(v, reader, err);
    if (st) return st;
    json_t *o = (json_t *)(uintptr_t)object; /* jansson's iterators take no const, and change nothing */
    for (void *at = json_object_iter(o); !st && at; at = json_object_iter_next(o, at))
        st = get_field(v, json_object_iter_key(at), json_object_iter_value(at), err);
    return st;
}

nb_status nb_vocab_load(nb_vocab *v, const json_t *object, const nb_reader *reader, nb_error *err) {
    nb_vocab_init(v, NB_VOCAB_BPE_RANKS);
    if (!object) return nb_fail(err, NB_MISSING, "the file has no tokenizer");
    nb_status st = load(v, object, reader, err);
    if (!st) st = nb_vocab_check_ids(v, err);
    if (st) nb_vocab_free(v);
    return st;
}
