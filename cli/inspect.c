/* nibble inspect: what a file says about itself. The weights are not read. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/common.h"
#include "core/hparams.h"

typedef struct totals {
    uint64_t parameters, weight_bytes; /* of what was trained */
} totals;

static uint64_t elements(const nb_tensor *t) {
    uint64_t n = 1;
    for (uint32_t i = 0; i < t->n_dims; i++) n *= t->dims[i]; /* the reader has checked that sizes do not overflow */
    return n;
}

static totals count_weights(const nb_reader *r) {
    totals sum = {0};
    for (size_t i = 0; i < nb_reader_count(r); i++) {
        const nb_tensor *t = nb_reader_at(r, i);
        /* The vocabulary, rotary frequencies and windows are data of the file, not of the model's training. */
        if (!strncmp(t->name, "tokenizer.", strlen("tokenizer.")) || !strncmp(t->name, "rope.", strlen("rope.")) ||
            !strcmp(t->name, "attn.windows"))
            continue;
        sum.parameters += elements(t);
        sum.weight_bytes += t->raw_bytes;
    }
    return sum;
}

static double bits_per_weight(const totals *sum) {
    return sum->parameters ? 8 * (double)sum->weight_bytes / (double)sum->parameters : 0;
}

/* All hyperparameters, with the defaults of those that the file leaves out; a file with unknown ones is shown as it is.
 */
static json_t *all_hparams(const json_t *model, const char *path) {
    json_t *stored = json_object_get(model, "hparams");
    nb_hparams h;
    nb_error err;
    nb_hparams_default(&h);
    if (!nb_hparams_from_json(&h, stored, &err)) return nb_hparams_to_json(&h);
    warn("'%s': %s", path, err.text);
    return json_incref(stored);
}

/* What the file says of its tokenizer, and how many tokens it has; NULL: it has none. */
static json_t *tokenizer_json(const nb_reader *r, const json_t *model) {
    json_t *object = json_copy(json_object_get(model, "tokenizer"));
    const nb_tensor *offsets = nb_reader_find(r, "tokenizer.offsets"); /* one more than tokens */
    if (object && offsets) json_object_set_new(object, "n_tokens", json_integer((json_int_t)elements(offsets) - 1));
    return object;
}

static json_t *tensors_json(const nb_reader *r) {
    json_t *list = json_array();
    for (size_t i = 0; i < nb_reader_count(r); i++) {
        const nb_tensor *t = nb_reader_at(r, i);
        json_t *shape = json_array();
        for (uint32_t d = 0; d < t->n_dims; d++) json_array_append_new(shape, json_integer((json_int_t)t->dims[d]));
        json_array_append_new(list, json_pack("{ss,ss,so,sI,sI,ss}", "name", t->name, "type", nb_types[t->type].name,
                                              "shape", shape, "raw_bytes", (json_int_t)t->raw_bytes, "stored_bytes",
                                              (json_int_t)t->stored_bytes, "form", nb_reader_form(r, t)));
    }
    return list;
}

static json_t *or_null(json_t *value) {
    return value ? value : json_null();
}

static json_t *size_json(uint64_t n) {
    return json_integer((json_int_t)n);
}

static int print_as_json(const nb_reader *r, json_t *model, const char *path) {
    totals sum = count_weights(r);
    json_t *out = json_object();
    json_object_set_new(out, "identity", json_sprintf("%016" PRIx64, nb_reader_identity(r)));
    json_object_set(out, "architecture", or_null(json_object_get(model, "architecture")));
    json_object_set_new(out, "hparams", or_null(all_hparams(model, path)));
    json_object_set_new(out, "tokenizer", or_null(tokenizer_json(r, model)));
    json_object_set(out, "chat", or_null(json_object_get(model, "chat")));
    json_object_set_new(out, "provenance", or_null(json_loads(nb_reader_provenance_json(r, NULL), 0, NULL)));
    json_object_set_new(out, "file_bytes", size_json(nb_reader_file_bytes(r)));
    json_object_set_new(out, "raw_bytes", size_json(nb_reader_raw_bytes(r)));
    json_object_set_new(out, "parameters", size_json(sum.parameters));
    json_object_set_new(out, "bits_per_weight", json_number(bits_per_weight(&sum)));
    json_object_set_new(out, "tensors", tensors_json(r));
    return print_json(out);
}

/* An object as "name  value" lines. */
static void print_object(const char *title, json_t *object) {
    if (!json_object_size(object)) return;
    printf("\n%s\n", title);
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        printf("  %-16s %s\n", key, json_is_string(value) ? json_string_value(value) : text ? text : "");
        free(text);
    }
}

static void print_tensors(const nb_reader *r) {
    printf("\n%-32s %-5s %-20s %12s %12s %6s  %s\n", "tensor", "type", "shape", "bytes", "in file", "bits", "form");
    for (size_t i = 0; i < nb_reader_count(r); i++) {
        const nb_tensor *t = nb_reader_at(r, i);
        char shape[96];
        size_t at = 0;
        shape[0] = '\0';
        for (uint32_t d = 0; d < t->n_dims; d++) {
            at += (size_t)snprintf(shape + at, sizeof shape - at, "%s%" PRIu64, d ? " x " : "", t->dims[d]);
        }
        uint64_t n = elements(t);
        double bits = n ? 8 * (double)t->raw_bytes / (double)n : 0;
        printf("%-32s %-5s %-20s %12" PRIu64 " %12" PRIu64 " %6.2f  %s\n", t->name, nb_types[t->type].name, shape,
               t->raw_bytes, t->stored_bytes, bits, nb_reader_form(r, t));
    }
}

static void print_readable(const nb_reader *r, json_t *model, const options *o) {
    totals sum = count_weights(r);
    char file[SIZE_TEXT], raw[SIZE_TEXT];
    const char *architecture = json_string_value(json_object_get(model, "architecture"));
    double as_f32 = 4 * (double)sum.parameters, bytes = (double)nb_reader_file_bytes(r);
    printf("%s\n  %-16s %016" PRIx64 "\n  %-16s %s\n  %-16s %" PRIu64
           " in %zu tensors\n  %-16s %s, %.2f bits per weight\n",
           o->args[0], "identity", nb_reader_identity(r), "architecture", architecture ? architecture : "",
           "parameters", sum.parameters, nb_reader_count(r), "in memory", size_text(nb_reader_raw_bytes(r), raw),
           bits_per_weight(&sum));
    printf("  %-16s %s, %.3f times smaller than in memory, %.2f times smaller than in f32\n", "file",
           size_text(nb_reader_file_bytes(r), file), (double)nb_reader_raw_bytes(r) / bytes, as_f32 / bytes);
    json_t *hparams = all_hparams(model, o->args[0]);
    json_t *tokenizer = tokenizer_json(r, model);
    json_t *provenance = json_loads(nb_reader_provenance_json(r, NULL), 0, NULL);
    print_object("hyperparameters", hparams);
    print_object("tokenizer", tokenizer);
    print_object("provenance", provenance);
    json_decref(provenance);
    json_decref(tokenizer);
    json_decref(hparams);
    if (o->tensors) print_tensors(r);
}

int cmd_inspect(const options *o) {
    nb_error err = {0};
    nb_reader *reader = NULL;
    json_t *model = NULL;
    int code = EXIT_SUCCESS;
    nb_status st = nb_reader_open(&reader, o->args[0], NULL, &err);
    if (!st) st = model_section(reader, &model, &err);
    if (!st && o->json)
        code = print_as_json(reader, model, o->args[0]);
    else if (!st)
        print_readable(reader, model, o);
    json_decref(model);
    nb_reader_close(reader);
    return st ? fail(&err) : code;
}
