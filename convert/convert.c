#include "convert/convert.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/buf.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "convert/arch.h"
#include "convert/budget.h"
#include "convert/calibrate.h"
#include "convert/chat_template.h"
#include "convert/choose.h"
#include "convert/emit.h"
#include "convert/exact.h"
#include "convert/forms.h"
#include "convert/hash.h"
#include "convert/names.h"
#include "convert/plan.h"
#include "convert/reading.h"
#include "convert/rope.h"
#include "convert/rotate.h"
#include "convert/rotate_auto.h"
#include "convert/synthetic.h"
#include "convert/tok.h"
#include "convert/windows.h"
#include "core/chat.h"
#include "core/hparams.h"
#include "core/vocab.h"
#include "format/writer.h"
#include "simd/kernels.h"

typedef struct job {
    const nb_convert_options *options;
    nb_input input;
    const nb_arch *arch;
    nb_hparams hparams;
    nb_rope rope;
    float windows[NB_BLOCKS_MAX];
    nb_plan plan;
    nb_kernels kernels;
    unsigned rotate; /* of NB_ROTATE_<NAME>, as decided */
    nb_rotation rotation;
    nb_rotation_trials trials;
    nb_vocab vocab;
    bool has_vocab;
    size_t n_vocab_tensors;
    nb_buf chat_template; /* as the checkpoint has it; may be empty */
    nb_writer *writer;
    nb_emit emit;
    nb_convert_list list; /* of the tensors written so far */
    nb_model *exact;             /* while calibrating: the checkpoint, converted exactly */
    nb_reading reading;          /* what it reads then */
    nb_calibration *calibration;
    nb_hasher *hasher; /* NULL: weights are made up, and their hash is 0 */
    uint64_t source_bytes, source_hash, plan_bytes;
    char *model_json, *provenance_json; /* jansson's, released with free */
    nb_error *err;
} job;

static void say(const job *j, const char *sentence) {
    if (j->options->say) j->options->say(j->options->user, sentence);
}

/* ---- the two JSON texts: sorted keys, no blanks, so that equal models have equal bytes ---- */

static nb_status dump(job *j, json_t *object, char **text) {
    *text = object ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(object);
    return *text ? NB_OK : nb_oom(j->err, "the metadata", 0);
}

static const char *architecture(const job *j) {
    return j->arch->architecture ? j->arch->architecture : j->arch->name;
}

/* The template's own system text, where it has one. */
static bool put_system(const job *j, json_t *chat) {
    nb_buf system = {0};
    bool has = nb_chat_system_of_template(nb_buf_str(&j->chat_template), &system);
    bool good = !system.failed && (!has || !json_object_set_new(chat, "system", json_string(nb_buf_str(&system))));
    nb_buf_free(&system);
    return good;
}

/* The chat style: what was asked for, that of the template, or the family's; a template that is not known is kept. */
static json_t *chat_json(const job *j) {
    const char *known = nb_chat_style_of_template(nb_buf_str(&j->chat_template));
    const char *style = j->options->chat_style ? j->options->chat_style : known ? known : j->arch->chat_style;
    json_t *chat = json_pack("{s:s}", "style", style);
    if (known && !strcmp(style, known) && !put_system(j, chat)) {
        json_decref(chat);
        return NULL;
    }
    if (known || !j->chat_template.size) return chat;
    if (!j->options->chat_style)
        say(j, "the chat template is none that is known: it is kept in the file, and --chat-style chooses how a "
               "conversation is written");
    if (json_object_set_new(chat, "template", json_string(nb_buf_str(&j->chat_template)))) {
        json_decref(chat);
        return NULL;
    }
    return chat;
}

static nb_status make_model_json(job *j) {
    json_t *object = json_pack("{s:s, s:o, s:o}", "architecture", architecture(j), "hparams",
                               nb_hparams_to_json(&j->hparams), "chat", chat_json(j));
    if (object && j->has_vocab && json_object_set_new(object, "tokenizer", nb_vocab_to_json(&j->vocab))) {
        json_decref(object);
        object = NULL;
    }
    return dump(j, object, &j->model_json);
}

/* Text from a command line or a folder need not be UTF-8, JSON must be. */
static json_t *text_json(const char *text) {
    json_t *s = json_string(text);
    return s ? s : json_string("?");
}

static bool chooses_types(const nb_convert_options *o) { return o->automatic || o->bits > 0; }

/* Types cannot be chosen without a text. */
static const char *calibration_text(const nb_convert_options *o) {
    return o->calibrate ? o->calibrate : chooses_types(o) ? NB_CALIBRATE_SELF : NULL;
}

static json_t *options_json(const nb_convert_options *o) {
    json_t *object = json_pack("{s:s, s:s, s:i}", "type", o->automatic ? "auto" : nb_types[o->type].name, "store",
                               o->store == NB_STORE_RAW ? "raw" : "zstd", "level", o->level);
    json_t *set = o->n_settings ? json_object() : NULL;
    for (size_t i = 0; set && i < o->n_settings; i++)
        json_object_set_new(set, o->settings[i].key, text_json(o->settings[i].value));
    if (set) json_object_set_new(object, "set", set);
    json_t *types = o->n_rules ? json_array() : NULL;
    for (size_t i = 0; types && i < o->n_rules; i++)
        json_array_append_new(types,
                              json_pack("[o, s]", text_json(o->rules[i].pattern), nb_types[o->rules[i].type].name));
    if (types) json_object_set_new(object, "types", types);
    json_t *loras = o->n_loras ? json_array() : NULL;
    for (size_t i = 0; loras && i < o->n_loras; i++)
        json_array_append_new(loras,
                              json_pack("[o, f]", text_json(nb_name_base(o->loras[i].folder)), o->loras[i].scale));
    if (loras) json_object_set_new(object, "lora", loras);
    if (o->chat_style) json_object_set_new(object, "chat_style", text_json(o->chat_style));
    if (o->bits > 0) json_object_set_new(object, "bits", json_real(o->bits));
    if (calibration_text(o)) json_object_set_new(object, "calibrate", text_json(nb_name_base(calibration_text(o))));
    char rotations[NB_ROTATION_TEXT];
    if (o->rotate) json_object_set_new(object, "rotate", text_json(nb_rotations_text(o->rotate, rotations)));
    if (o->arch) json_object_set_new(object, "arch", text_json(o->arch));
    if (o->tokenizer) json_object_set_new(object, "tokenizer", text_json(nb_name_base(o->tokenizer)));
    return object;
}

/* The names of the files that were hashed, in that order; NULL: there is one. */
static json_t *files_json(const nb_source *s) {
    json_t *list = s->n_files > 1 ? json_array() : NULL;
    for (size_t i = 0; list && i < s->n_files; i++) json_array_append_new(list, text_json(nb_name_base(s->files[i])));
    return list;
}

/* Names only: a path would tell about the machine, and the same conversion elsewhere would write another file. */
static nb_status make_provenance_json(job *j) {
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, j->source_hash);
    char rotations[NB_ROTATION_TEXT];
    json_t *object = json_pack("{s:{s:o, s:s, s:s, s:I, s:o*}, s:{s:s, s:o, s:s*}}", "source", "name",
                               text_json(nb_name_base(j->input.path)), "form", j->input.form->title, "xxh3_1m", hash,
                               "bytes", (json_int_t)j->source_bytes, "files", files_json(j->input.source), "converter",
                               "version", NIBBLE_VERSION, "options", options_json(j->options), "rotated",
                               j->options->rotate ? nb_rotations_text(j->rotate, rotations) : NULL);
    return dump(j, object, &j->provenance_json);
}

/* ---- steps ---- */

/* Numbers that are the checkpoint's own: what the converter makes is none. */
static uint64_t count_parameters(const nb_plan *plan) {
    uint64_t n = 0;
    for (size_t i = 0; i < plan->n; i++)
        if (plan->tensors[i].n_parts) n += plan->tensors[i].spec.rows * plan->tensors[i].spec.cols;
    return n;
}

/* What was found, in the order in which a reader wants to know it. */
static void say_found(const job *j) {
    char text[300];
    const nb_hparams *h = &j->hparams;
    snprintf(text, sizeof text,
             "%s '%s': %u blocks, %u channels, %u heads (%u for keys and values), %u tokens, context %u",
             j->input.form->title, nb_name_base(j->input.path), (unsigned)h->n_layer, (unsigned)h->n_embd,
             (unsigned)h->n_head, (unsigned)h->n_kv_head, (unsigned)h->vocab_size, (unsigned)h->n_ctx);
    say(j, text);
    const nb_era *era = nb_arch_era(j->arch, j->input.source);
    if (era) {
        snprintf(text, sizeof text,
                 "its tensors are those of %s, %s: constants that it does not store are of that time", j->arch->name,
                 era->when);
        say(j, text);
    }
    size_t n = (size_t)snprintf(text, sizeof text, "the plan: %s, %" PRIu64 " parameters in %zu tensors: ",
                                architecture(j), count_parameters(&j->plan), j->plan.n);
    nb_choice_text(&j->plan, text + n, sizeof text - n);
    n = strlen(text);
    snprintf(text + n, sizeof text - n, "; %.1f MB before compression, as in memory", (double)j->plan_bytes / 1e6);
    say(j, text);
    for (size_t i = 0; i < j->plan.n; i++)
        for (size_t p = 0; p < j->plan.tensors[i].n_parts; p++)
            if (j->plan.tensors[i].parts[p].tensor->dtype == NB_DTYPE_F64) {
                say(j, "the checkpoint holds f64 weights: they are rounded to f32");
                return;
            }
}

static nb_status merge_adapter(job *j, const nb_lora *lora) {
    char text[300];
    size_t changed = 0;
    nb_status st = nb_source_lora_open(&j->input.source, lora->folder, lora->scale, &changed, j->err);
    if (st) return st;
    snprintf(text, sizeof text, "adapter '%.200s' is merged, times %g: it changes %zu tensors",
             nb_name_base(lora->folder), lora->scale, changed);
    say(j, text);
    return NB_OK;
}

static nb_status open_source(job *j, const char *source) {
    const nb_convert_options *o = j->options;
    if (!o->synthetic) {
        nb_status st = nb_input_open(&j->input, source, o->arch, o->say, o->user, j->err);
        for (size_t i = 0; !st && i < o->n_loras; i++) st = merge_adapter(j, &o->loras[i]);
        return st;
    }
    return nb_synthetic_open(&j->input, o->synthetic, o->settings, o->n_settings, j->err);
}

/* How large the source is: made-up weights count as f32. */
static nb_status measure_source(job *j) {
    const nb_source *s = j->input.source;
    if (!j->options->synthetic)
        return nb_hasher_start(&j->hasher, s->files, s->handles, s->n_files, &j->source_bytes, j->err);
    j->source_bytes = j->plan.source_elements * sizeof(float);
    return NB_OK;
}

/* Rotate the plan and what is read by it. */
static nb_status rotate(job *j, unsigned set) {
    j->rotate = set;
    nb_status st = nb_rotation_make(&j->rotation, set, &j->hparams, &j->plan, j->input.source, &j->kernels, j->err);
    return st ? st : nb_plan_bytes(&j->plan, &j->plan_bytes, j->err);
}

static void say_rotated(const job *j) {
    char text[120], names[NB_ROTATION_TEXT];
    if (!j->rotate) return;
    snprintf(text, sizeof text, "rotated, which changes no result but by rounding: %s",
             nb_rotations_text(j->rotate, names));
    say(j, text);
}

static nb_status prepare(job *j, const char *source) {
    const nb_convert_options *o = j->options;
    nb_status st = open_source(j, source);
    if (st) return st;
    j->arch = j->input.form->arch;
    const nb_arch_input in = {.source = j->input.source,
                              .config = j->input.config,
                              .settings = o->settings,
                              .n_settings = o->n_settings};
    st = nb_arch_hparams(j->arch, &in, &j->hparams, j->err);
    if (!st) st = nb_rope_make(&j->rope, j->arch, &in, &j->hparams, j->err);
    if (!st) st = nb_windows_make(j->windows, j->arch, &in, &j->hparams, j->err);
    if (!st) st = nb_plan_make(&j->plan, j->arch, &j->hparams, j->input.source, j->err);
    if (!st) st = nb_choose_types(&j->plan, o, j->err);
    if (!st) st = nb_kernels_choose(&j->kernels, NULL, j->err);
    if (!st) st = rotate(j, o->rotate & ~(unsigned)NB_ROTATE_AUTO);
    if (st) return nb_context(j->err, st, "'%s'", j->input.path);
    say_found(j);
    say_rotated(j);
    const nb_tok_input tok = {.checkpoint = j->input.path,
                              .given = o->synthetic && !o->tokenizer ? "none" : o->tokenizer,
                              .arch = j->arch,
                              .meta = nb_value_get(j->input.source->meta, "gguf"),
                              .vocab_size = j->hparams.vocab_size,
                              .say = o->say,
                              .user = o->user};
    return nb_tok_load(&j->vocab, &j->has_vocab, &j->chat_template, &tok, j->err);
}

static nb_status emit_vocab(job *j) {
    nb_vocab_tensor tensors[NB_VOCAB_TENSORS];
    nb_status st = nb_vocab_tensors(&j->vocab, tensors, j->err);
    if (st) return st;
    for (size_t i = 0; !st && i < NB_VOCAB_TENSORS; i++) {
        const nb_vocab_tensor *t = &tensors[i];
        if (!t->count) continue;
        j->n_vocab_tensors++;
        st = nb_emit_plain(&j->emit, t->name, t->type, t->count, t->bytes.data, j->err);
    }
    nb_vocab_tensors_free(tensors);
    return st;
}

/* With --force the checkpoint itself would be replaced. */
static bool is_source(const nb_source *s, const char *path) {
    struct stat x, y;
    if (stat(path, &x)) return false;
    for (size_t i = 0; i < s->n_files; i++)
        if (!stat(s->files[i], &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino) return true;
    return false;
}

static nb_status commit(job *j, nb_convert_report *report) {
    nb_status st = j->hasher ? nb_hasher_finish(j->hasher, &j->source_hash, NULL, j->err) : NB_OK;
    if (!st) st = make_provenance_json(j);
    return st ? st
              : nb_writer_commit(j->writer, j->model_json, j->provenance_json, &report->identity, &report->file_bytes,
                                 j->err);
}

static nb_status list_tensor(void *user, const nb_plan_tensor *t, uint64_t raw_bytes, const nb_quant_error *error,
                             nb_error *err) {
    job *j = user;
    return nb_convert_list_add(&j->list, t, raw_bytes, error, err);
}

static nb_status calibrate(job *j, const char *source, const char *target) {
    const nb_convert_options *o = j->options;
    bool quantized = false;
    for (size_t i = 0; i < j->plan.n; i++) quantized = quantized || nb_types[j->plan.tensors[i].type].scaled;
    if (!quantized) return nb_fail(j->err, NB_ARGUMENT, "there is nothing to calibrate: no matrix would be quantized");
    const char *read = calibration_text(o);
    const nb_calibrate_options how = {.reading = o->reading ? o->reading : &j->reading, .team = o->team,
                                      .progress = o->progress};
    nb_convert_options decided = *o;
    decided.rotate = j->rotate;
    nb_status st = nb_exact_open(&j->exact, source, target, &decided, &j->plan, j->err);
    if (!st && !how.reading->window)
        st = nb_reading_make(&j->reading, j->exact, read, NB_CALIBRATE_TOKENS, o->team, o->progress, j->err);
    if (!st) st = nb_calibration_create(&j->calibration, j->exact, &j->plan, &how, j->err);
    if (st) return st;
    char text[160];
    bool self = !strcmp(read, NB_CALIBRATE_SELF);
    snprintf(text, sizeof text, "calibrating with %zu tokens of %s", how.reading->ids.size,
             self ? "the model's own samples" : nb_name_base(read));
    say(j, text);
    return NB_OK;
}

static nb_status choose_rotations(job *j, const char *source, const char *target) {
    nb_convert_options trial = *j->options;
    unsigned set;
    trial.calibrate = calibration_text(&trial);
    nb_status st =
        nb_rotate_choose(source, target, &trial, &j->plan, &j->hparams, &set, &j->trials, &j->reading, j->err);
    if (!st) st = rotate(j, set);
    if (!st) say_rotated(j);
    return st;
}

static nb_status choose_by_budget(job *j) {
    char told[160], text[400];
    nb_status st = nb_budget_choose(&j->plan, &j->emit, j->options->bits, told, sizeof told, j->err);
    if (!st) st = nb_plan_bytes(&j->plan, &j->plan_bytes, j->err);
    if (st) return st;
    size_t n = (size_t)snprintf(text, sizeof text, "chosen: ");
    nb_choice_text(&j->plan, text + n, sizeof text - n);
    n = strlen(text);
    snprintf(text + n, sizeof text - n, "; %s", told);
    say(j, text);
    return NB_OK;
}

static nb_status write_all(job *j, const char *source, const char *target, nb_convert_report *report) {
    const nb_convert_options *o = j->options;
    if (is_source(j->input.source, target))
        return nb_fail(j->err, NB_ARGUMENT, "'%s' is the checkpoint itself; choose another name with -o", target);
    const nb_writer_options wo = {.store = o->store, .level = o->level, .overwrite = o->overwrite, .team = o->team};
    nb_status st = nb_writer_create(&j->writer, target, &wo, j->err); /* before the long work: it may refuse */
    if (!st && (o->rotate & NB_ROTATE_AUTO)) st = choose_rotations(j, source, target);
    if (!st) st = make_model_json(j);
    if (!st && calibration_text(o)) st = calibrate(j, source, target);
    if (!st) st = measure_source(j);
    if (st) return st;
    j->emit = (nb_emit){.source = j->input.source,
                        .rotation = &j->rotation,
                        .writer = j->writer,
                        .team = o->team,
                        .calibration = j->calibration,
                        .search = nb_kernels_search(&j->kernels),
                        .progress = o->progress,
                        .total = j->plan.source_elements,
                        .total_bytes = j->source_bytes,
                        .wrote = list_tensor,
                        .user = j,
                        .made = {[NB_SPEC_inv_freq] = j->rope.inv_freq,
                                 [NB_SPEC_rope_kinds] = j->rope.kinds,
                                 [NB_SPEC_rope_gains] = j->rope.gains,
                                 [NB_SPEC_windows] = j->windows}};
    if (chooses_types(o)) st = choose_by_budget(j);
    if (!st && j->has_vocab) st = emit_vocab(j);
    if (!st) st = nb_emit_tensors(&j->emit, j->plan.tensors, j->plan.n, j->err);
    return st ? st : commit(j, report);
}

static void fill_report(const job *j, nb_convert_report *r) {
    r->source_bytes = j->source_bytes;
    r->raw_bytes = j->options->dry_run ? j->plan_bytes : j->emit.raw_bytes;
    r->parameters = count_parameters(&j->plan);
    r->trials = j->trials;
    r->n_tensors = (uint32_t)(j->plan.n + j->n_vocab_tensors);
    nb_quant_error total = nb_convert_total(&j->list);
    r->snr_db = nb_quant_error_snr(&total);
    snprintf(r->architecture, sizeof r->architecture, "%s", architecture(j));
    snprintf(r->form, sizeof r->form, "%s", j->input.form->title);
}

nb_status nb_convert(const char *source, const char *target, const nb_convert_options *options,
                     nb_convert_report *report, nb_error *err) {
    nb_convert_report ignored;
    job j = {.options = options, .err = err};
    if (!report) report = &ignored;
    *report = (nb_convert_report){0};
    if ((unsigned)options->type >= NB_TYPE_COUNT || !nb_types[options->type].block_bytes)
        return nb_fail(err, NB_ARGUMENT, "matrices cannot have the type '%s'",
                       (unsigned)options->type < NB_TYPE_COUNT ? nb_types[options->type].name : "?");
    if (options->chat_style && !nb_chat_style_find(options->chat_style))
        return nb_fail(err, NB_ARGUMENT, "'%s' is no chat style", options->chat_style);
    nb_status st = prepare(&j, source);
    if (!st) st = options->dry_run ? make_model_json(&j) : write_all(&j, source, target, report);
    if (!st) fill_report(&j, report);
    if (!st && options->list) *options->list = j.list;
    else nb_convert_list_free(&j.list);
    nb_calibration_free(j.calibration);
    nb_reading_free(&j.reading);
    nb_model_free(j.exact);
    nb_hasher_free(j.hasher);
    nb_emit_free(&j.emit);
    nb_writer_close(j.writer);
    free(j.model_json);
    free(j.provenance_json);
    if (j.has_vocab) nb_vocab_free(&j.vocab);
    nb_buf_free(&j.chat_template);
    nb_rotation_free(&j.rotation);
    nb_plan_free(&j.plan);
    nb_input_close(&j.input);
    return st;
}
