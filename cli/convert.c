/* nibble convert: from a checkpoint to a .nbl file. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/mem.h"
#include "cli/common.h"
#include "cli/convert_report.h"
#include "convert/convert.h"
#include "convert/rotate.h"

static void say(void *user, const char *sentence) {
    progress_bar *bar = user;
    progress_end(bar);
    fprintf(stderr, "nibble: %s\n", sentence);
}

/* "models/ckpt.pt" gives "ckpt.nbl", a directory "models/d12" gives "d12.nbl". New string; NULL: out of memory. */
static char *default_output(const char *source) {
    static const char *const endings[] = {".pt", ".pth", ".bin", ".safetensors", ".gguf"};
    char *real = realpath(source, NULL); /* gives "." and ".." a name */
    const char *path = real ? real : source;
    const char *slash = strrchr(path, '/'), *base = slash && slash[1] ? slash + 1 : path;
    size_t n = strlen(base);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t m = strlen(endings[i]);
        if (n > m && !strcmp(base + n - m, endings[i])) {
            n -= m;
            break;
        }
    }
    char *out = nb_alloc(n + sizeof ".nbl");
    if (out) snprintf(out, n + sizeof ".nbl", "%.*s.nbl", (int)n, base);
    free(real);
    return out;
}

/* "n_head=8" to {"n_head", "8"}. The texts live in one allocation, which the caller frees with the list. */
static nb_status split_settings(const texts *given, nb_setting **settings, nb_error *err) {
    size_t bytes = given->n * sizeof **settings;
    for (size_t i = 0; i < given->n; i++) bytes += strlen(given->v[i]) + 1;
    *settings = nb_alloc(bytes);
    if (!*settings) return nb_oom(err, "settings", bytes);
    char *text = (char *)(*settings + given->n);
    for (size_t i = 0; i < given->n; i++) {
        size_t n = strlen(given->v[i]), key = strcspn(given->v[i], "=");
        if (!key || key == n) return nb_fail(err, NB_ARGUMENT, "--set takes KEY=VALUE, not '%s'", given->v[i]);
        memcpy(text, given->v[i], n + 1);
        text[key] = '\0';
        (*settings)[i] = (nb_setting){.key = text, .value = text + key + 1};
        text += n + 1;
    }
    return NB_OK;
}

/* --type-of and --keep-f32 as rules; the patterns live in the list's allocation. */
static nb_status make_rules(const options *o, nb_type_rule **rules, nb_error *err) {
    size_t n = o->type_rules.n + o->keep_f32.n, bytes = n * sizeof **rules;
    for (size_t i = 0; i < o->type_rules.n; i++) bytes += strlen(o->type_rules.v[i]) + 1;
    *rules = nb_alloc(bytes);
    if (!*rules) return nb_oom(err, "types", bytes);
    char *text = (char *)(*rules + n);
    for (size_t i = 0; i < o->type_rules.n; i++) {
        const char *given = o->type_rules.v[i], *equals = strrchr(given, '=');
        size_t length = strlen(given) + 1;
        memcpy(text, given, length);
        if (!equals || equals == given || !nb_type_by_name(equals + 1, &(*rules)[i].type) ||
            !nb_types[(*rules)[i].type].block_bytes)
            return nb_fail(err, NB_ARGUMENT, "--type-of takes PATTERN=TYPE with a type of --type, not '%s'", given);
        text[equals - given] = '\0';
        (*rules)[i].pattern = text;
        text += length;
    }
    for (size_t i = 0; i < o->keep_f32.n; i++)
        (*rules)[o->type_rules.n + i] = (nb_type_rule){.pattern = o->keep_f32.v[i], .type = NB_TYPE_F32};
    return NB_OK;
}

/* "DIR" or "DIR:0.5"; a folder whose name ends like that is a folder. The names live in the list's allocation. */
static nb_status split_loras(const texts *given, nb_lora **loras, nb_error *err) {
    size_t bytes = given->n * sizeof **loras;
    for (size_t i = 0; i < given->n; i++) bytes += strlen(given->v[i]) + 1;
    *loras = nb_alloc(bytes);
    if (!*loras) return nb_oom(err, "adapters", bytes);
    char *text = (char *)(*loras + given->n);
    for (size_t i = 0; i < given->n; i++) {
        size_t n = strlen(given->v[i]);
        memcpy(text, given->v[i], n + 1);
        char *colon = nb_is_directory(text) ? NULL : strrchr(text, ':'), *end = NULL;
        (*loras)[i] = (nb_lora){.folder = text, .scale = colon ? strtod(colon + 1, &end) : 1};
        if (colon && (end == colon + 1 || *end || !isfinite((*loras)[i].scale)))
            return nb_fail(err, NB_ARGUMENT, "--lora takes DIR[:SCALE] with a number as SCALE, not '%s'", given->v[i]);
        if (colon) *colon = '\0';
        for (n = strlen(text); n > 1 && text[n - 1] == '/';) text[--n] = '\0'; /* its name is told */
        text += strlen(given->v[i]) + 1;
    }
    return NB_OK;
}

/* What --rotate auto measured; nothing without it. */
static void print_trials(const nb_rotation_trials *trials, const char *calibrate) {
    char names[NB_ROTATION_TEXT];
    bool self = !calibrate || !strcmp(calibrate, NB_CALIBRATE_SELF);
    if (!trials->n) return;
    printf("rotation  divergence from the exact model, nats per token, on %zu tokens of %s\n", trials->tokens,
           self ? "its own samples" : calibrate);
    for (size_t i = 0; i < trials->n; i++) {
        const nb_rotation_trial *t = &trials->list[i];
        printf("  %-8s %-12s %.3g", t->what, nb_rotations_text(t->set, names), t->divergence.mean);
        if (t->set)
            printf(", %.2g %s (standard error %.2g)", fabs(t->gain.mean), t->gain.mean < 0 ? "more" : "less",
                   t->gain.error);
        printf("%s\n", t->kept ? ": kept" : "");
    }
}

static nb_status print_report(const conversion *c, nb_error *err) {
    char source[SIZE_TEXT], file[SIZE_TEXT], snr[48];
    const nb_convert_report *r = c->report;
    printf("%s: %s, %s, %" PRIu64 " parameters in %" PRIu32 " tensors\n", c->target, r->architecture, c->o->type,
           r->parameters, r->n_tensors);
    if (c->o->dry_run) {
        printf("size      at most %s\nNothing was written.\n", size_text(r->raw_bytes, file));
        return NB_OK;
    }
    nb_buf classes = {0};
    nb_status st = conversion_text(c, &classes, err);
    if (isfinite(r->snr_db)) snprintf(snr, sizeof snr, "signal-to-noise ratio %.1f dB", r->snr_db);
    else snprintf(snr, sizeof snr, "exact");
    printf("size      %s from %s (%.2f times smaller; %.2f bits per parameter)\n"
           "accuracy  %s\n%s"
           "identity  %016" PRIx64 "\n",
           size_text(r->file_bytes, file), size_text(r->source_bytes, source),
           r->file_bytes ? (double)r->source_bytes / (double)r->file_bytes : 0,
           r->parameters ? 8 * (double)r->file_bytes / (double)r->parameters : 0, snr, nb_buf_str(&classes),
           r->identity);
    print_trials(&r->trials, c->o->calibrate);
    nb_buf_free(&classes);
    return st;
}

static nb_status write_page(const conversion *c, nb_replace *file, nb_error *err) {
    nb_buf page = {0};
    nb_status st = conversion_html(c, &page, err);
    if (!st) st = nb_replace_write(file, page.data, page.size, err);
    if (!st) st = nb_replace_commit(file, err);
    nb_buf_free(&page);
    return st;
}

static nb_store store_by_name(const char *name) {
    return strcmp(name, store_choice(NB_STORE_RAW)) ? NB_STORE_ZSTD : NB_STORE_RAW;
}

/* Exactly one of SRC and --synthetic, and no options that contradict each other; 0, or an exit code after a sentence. */
static int check_options(const options *o) {
    if (!o->n_args && !o->synthetic)
        return usage_error("convert: SRC is missing (usage: nibble convert SRC [options])");
    if (o->n_args && o->synthetic)
        return usage_error("convert: '%s' is one argument too many: --synthetic takes no SRC", o->args[0]);
    if (o->report && o->dry_run) return usage_error("convert: a --dry-run has nothing for a --report");
    if (o->loras.n && o->synthetic)
        return usage_error("convert: --synthetic takes no --lora: there is nothing to merge it into");
    nb_type type;
    if (o->bits > 0 && nb_type_by_name(o->type, &type) && !nb_types[type].scaled)
        return usage_error("convert: --bits chooses among quantized types, not --type %s", o->type);
    if (o->dry_run && (o->bits > 0 || !strcmp(o->type, TYPE_AUTO)))
        return usage_error("convert: types are chosen by measuring, which a --dry-run does not");
    unsigned rotate;
    if (!nb_rotations_parse(o->rotate, &rotate))
        return usage_error(
            "convert: --rotate takes none, auto, or some of vo, residual and qk with commas between them, not '%s'",
            o->rotate);
    if (o->dry_run && (rotate & NB_ROTATE_AUTO))
        return usage_error("convert: rotations are chosen by measuring, which a --dry-run does not");
    if (o->arch && o->synthetic) return usage_error("convert: --synthetic takes no --arch: a shape has its own");
    return 0;
}

/* What the options become, and what the conversion leaves. */
typedef struct job {
    const options *o;
    const char *source;
    char *target;
    nb_setting *settings;
    nb_lora *loras;
    nb_type_rule *rules;
    nb_team *team;
    nb_replace page;
    nb_convert_report report;
    nb_convert_list list;
    progress_bar bar;
} job;

/* NB_ARGUMENT: wrong usage. */
static nb_status read_options(job *j, nb_error *err) {
    const options *o = j->o;
    j->target = o->output ? nb_strdup(o->output) : default_output(j->source);
    if (!j->target) return nb_oom(err, "file name", strlen(j->source));
    nb_status st = make_rules(o, &j->rules, err);
    if (!st) st = split_settings(&o->settings, &j->settings, err);
    return st ? st : split_loras(&o->loras, &j->loras, err);
}

static nb_status convert(job *j, nb_error *err) {
    const options *o = j->o;
    nb_convert_options how = {.store = store_by_name(o->store),
                              .level = (int)o->level,
                              .tokenizer = o->tokenizer,
                              .chat_style = o->chat_style,
                              .arch = o->arch,
                              .automatic = !strcmp(o->type, TYPE_AUTO),
                              .type = NB_TYPE_Q4,
                              .bits = o->bits,
                              .calibrate = o->calibrate,
                              .synthetic = o->synthetic,
                              .settings = j->settings,
                              .n_settings = o->settings.n,
                              .loras = j->loras,
                              .n_loras = o->loras.n,
                              .rules = j->rules,
                              .n_rules = o->type_rules.n + o->keep_f32.n,
                              .dry_run = o->dry_run,
                              .overwrite = o->force,
                              .team = j->team,
                              .progress = progress_begin(&j->bar),
                              .say = say,
                              .user = &j->bar,
                              .list = &j->list};
    if (!how.automatic) nb_type_by_name(o->type, &how.type);
    nb_rotations_parse(o->rotate, &how.rotate);
    nb_status st = nb_convert(j->source, j->target, &how, &j->report, err);
    progress_end(&j->bar);
    return st;
}

static void job_free(job *j) {
    nb_replace_abandon(&j->page);
    nb_convert_list_free(&j->list);
    nb_team_free(j->team);
    nb_free(j->settings);
    nb_free(j->loras);
    nb_free(j->rules);
    nb_free(j->target);
}

int cmd_convert(const options *o) {
    int wrong = check_options(o);
    if (wrong) return wrong;
    nb_error err = {0};
    job j = {.o = o, .source = o->synthetic ? o->synthetic : o->args[0]};
    nb_status st = read_options(&j, &err);
    if (st == NB_ARGUMENT) {
        job_free(&j);
        return usage_error("convert: %s", err.text);
    }
    if (!st) st = team_open(&j.team, o, &err);
    if (!st && o->report) st = nb_replace_begin(&j.page, o->report, true, &err); /* before the long work: it may fail */
    if (!st) st = convert(&j, &err);
    const conversion done = {.o = o, .source = j.source, .target = j.target, .report = &j.report, .list = &j.list};
    if (!st && o->report) st = write_page(&done, &j.page, &err);
    if (!st) st = print_report(&done, &err);
    job_free(&j);
    return st ? fail(&err) : EXIT_SUCCESS;
}
