/* A vocabulary in the file: the "tokenizer" object and two plain tensors. */
#include <string.h>
#include "base/bytes.h"
#include "base/mem.h"
#include "core/tokenizer_kinds.h"

/* The ids that are single numbers in the object. */
static const struct {
    const char *key;
    size_t offset;
} id_keys[] = {{"bos", offsetof(nb_vocab, bos)}, {"unk", offsetof(nb_vocab, unk)}, {"pad", offsetof(nb_vocab, pad)}};
enum { N_ID_KEYS = sizeof id_keys / sizeof *id_keys };

static int32_t *id_field(nb_vocab *v, size_t i) {
    return (int32_t *)(void *)((char *)v + id_keys[i].offset);
}

static int put_specials(json_t *object, const nb_vocab *v) {
    json_t *list = json_array();
    int bad = 0;
    for (size_t i = 0; i < v->n_specials; i++)
        bad |= json_array_append_new(
            list, json_pack("{s:s, s:i}", "text", v->specials[i].text, "id", (int)v->specials[i].id));
    return json_object_set_new(object, "specials", list) | bad;
}

json_t *nb_vocab_to_json(const nb_vocab *v) {
    nb_vocab copy = *v; /* only to reach the id fields by offset without casting const away */
    json_t *object = json_object(), *stops = json_array();
    int bad = !object || !stops || (unsigned)v->kind >= NB_VOCAB_KIND_COUNT;
    if (!bad) bad = json_object_set_new(object, "kind", json_string(nb_tokenizer_kinds[v->kind]->name));
    if (!bad && v->pattern) bad = json_object_set_new(object, "pattern", json_string(v->pattern));
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

static nb_status get_pattern(nb_vocab *v, const json_t *value, nb_error *err) {
    if (!json_is_string(value)) return wrong(err, "pattern", "a string");
    return nb_vocab_set_pattern(v, json_string_value(value), json_string_length(value), err);
}

static nb_status get_specials(nb_vocab *v, const json_t *value, nb_error *err) {
    if (!json_is_array(value)) return wrong(err, "specials", "an array");
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *entry = json_array_get(value, i), *text = json_object_get(entry, "text");
        int32_t id = NB_NO_TOKEN;
        if (!json_is_string(text) || json_object_size(entry) != 2)
            return wrong(err, "specials", "an array of {text, id}");
        nb_status st = get_id(json_object_get(entry, "id"), "specials", &id, err);
        if (!st && (uint32_t)id >= v->n_tokens) st = wrong(err, "specials", "within the vocabulary");
        if (!st) st = nb_vocab_add_special(v, json_string_value(text), json_string_length(text), id, err);
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
} fields[] = {{"kind", get_kind}, {"pattern", get_pattern}, {"specials", get_specials}, {"stops", get_stops}};

static nb_status get_field(nb_vocab *v, const char *key, const json_t *value, nb_error *err) {
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(key, fields[i].key) == 0) return fields[i].get(v, value, err);
    for (size_t i = 0; i < N_ID_KEYS; i++)
        if (strcmp(key, id_keys[i].key) == 0) return get_id(value, key, id_field(v, i), err);
    return nb_fail(err, NB_UNSUPPORTED, "tokenizer object: \"%.80s\" is not known to this version", key);
}

/* Both tensors as they lie in memory; `offsets` still little-endian. */
static nb_status load_tensors(nb_vocab *v, const nb_reader *reader, nb_error *err) {
    const nb_tensor *bytes = nb_reader_find(reader, "tokenizer.bytes"),
                    *offsets = nb_reader_find(reader, "tokenizer.offsets");
    if (!bytes || !offsets)
        return nb_fail(err, NB_MISSING, "tensor 'tokenizer.%s' is missing", bytes ? "offsets" : "bytes");
    if (bytes->type != NB_TYPE_U8 || bytes->n_dims != 1 || bytes->raw_bytes > NB_MAX_VOCAB_BYTES)
        return nb_fail(err, NB_FORMAT, "tensor 'tokenizer.bytes' is not a vector of at most %d u8",
                       (int)NB_MAX_VOCAB_BYTES);
    if (offsets->type != NB_TYPE_U32 || offsets->n_dims != 1 || offsets->dims[0] < 2 ||
        offsets->dims[0] > NB_MAX_VOCAB + 1)
        return nb_fail(err, NB_FORMAT, "tensor 'tokenizer.offsets' is not a vector of 2 to %d u32",
                       (int)NB_MAX_VOCAB + 1);
    uint32_t n = (uint32_t)offsets->dims[0];
    v->offsets = nb_alloc(n * sizeof *v->offsets);
    uint8_t *into = nb_buf_extend(&v->bytes, (size_t)bytes->raw_bytes);
    if (!v->offsets || !into) return nb_oom(err, "vocabulary", (size_t)bytes->raw_bytes + n * sizeof *v->offsets);
    v->offsets_capacity = n;
    nb_load loads[] = {{bytes, into}, {offsets, v->offsets}};
    nb_status st = nb_reader_load(reader, loads, 2, NULL, NULL, err);
    if (st) return st;
    for (uint32_t i = 0; i < n; i++) v->offsets[i] = nb_get_u32((const uint8_t *)&v->offsets[i]);
    v->n_tokens = n - 1;
    return NB_OK;
}

static nb_status load(nb_vocab *v, const json_t *object, const nb_reader *reader, nb_error *err) {
    if (!json_is_object(object)) return nb_fail(err, NB_FORMAT, "tokenizer object: it is not an object");
    if (!json_object_get(object, "kind")) return nb_fail(err, NB_FORMAT, "tokenizer object: \"kind\" is missing");
    nb_status st = load_tensors(v, reader, err);
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
