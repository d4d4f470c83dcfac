#include "convert/forms.h"

#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "convert/container.h"
#include "convert/names.h"
#include "convert/pickle.h"

/* Hugging Face keeps one model in several containers: safetensors is the better one. */
#define HF_FILES "model.safetensors.index.json|model.safetensors|pytorch_model.bin.index.json|pytorch_model.bin"
#define HF(title, arch, tensor, type) {title, arch, HF_FILES, tensor, NULL, "config.json", "", "model_type", type}
/* By what tells them from nanoGPT, minGPT, MiniGPT and GPT-2, which share many names. */
#define TUTORIAL(tensor) \
    {"state dictionary of a tutorial's GPT", &nb_arch_tutorial, "model.pt", tensor, NULL, "config.json", "", NULL, NULL}
#define GGUF(title, arch, tensor, type) {title, arch, "*.gguf", tensor, "model", NULL, "", "architecture", type}

const nb_form nb_forms[] = {
    {"nanochat checkpoint", &nb_arch_nanochat, "model_#.pt", "transformer.h.%u.attn.c_q.weight", NULL, "meta_#.json",
     "model_config", NULL, NULL},
    {"nanoGPT checkpoint", &nb_arch_nanogpt, "ckpt.pt", "transformer.h.%u.attn.c_attn.weight", "model_args", NULL, "",
     NULL, NULL},
    {"llama2.c checkpoint", &nb_arch_meta, "ckpt.pt", "layers.%u.attention.wq.weight", "model_args", NULL, "", NULL,
     NULL},
    {"MiniGPT checkpoint", &nb_arch_minigpt, "best_model.pth", "transformer.blocks.%u.attn.qkv_proj.weight", NULL,
     "config.json", "", NULL, NULL},
    {"minGPT state dictionary", &nb_arch_mingpt, "model.pt", "transformer.h.%u.attn.bias", NULL, "config.json", "model",
     "model_type", NULL},
    {"minGPT state dictionary", &nb_arch_mingpt, "model.pt", "transformer.h.%u.attn.bias", NULL, NULL, "", NULL, NULL},
    {"nanoGPT state dictionary", &nb_arch_nanogpt, "model.pt", "transformer.h.%u.attn.c_attn.weight", NULL, NULL, "",
     NULL, NULL},
    {"Meta Llama checkpoint", &nb_arch_meta, "consolidated.00.pth|consolidated.safetensors",
     "layers.%u.attention.wq.weight", NULL, "params.json", "", "n_layers", NULL},
    {"llama2.c model", &nb_arch_meta, "stories*.bin", "layers.%u.attention.wq.weight", "llama2c", NULL, "", NULL, NULL},
    {"Llama state dictionary", &nb_arch_meta, "model.pt", "layers.%u.feed_forward.w1.weight", NULL, NULL, "", NULL,
     NULL},
    {"state dictionary of Llama blocks", &nb_arch_block, "model.pt", "{blocks|layers}.%u.ffn.w1.weight", NULL,
     "config.json", "", NULL, NULL},
    TUTORIAL("{blocks|layers}.%u.{ln_1|ln1|norm1}.weight"),
    TUTORIAL("transformer.{h|blocks|layers}.%u.{ln1|norm1}.weight"),
    TUTORIAL("transformer.{h|blocks|layers}.%u.attn.{q_proj|query|wq}.weight"),
    GGUF("GGUF file of a Llama", &nb_arch_gguf_llama, "blk.%u.attn_q.weight", "llama"),
    GGUF("GGUF file of a Qwen2", &nb_arch_gguf_qwen2, "blk.%u.attn_q.weight", "qwen2"),
    GGUF("GGUF file of a Qwen3", &nb_arch_gguf_qwen3, "blk.%u.attn_q.weight", "qwen3"),
    GGUF("GGUF file of a Phi-3", &nb_arch_gguf_phi3, "blk.%u.attn_qkv.weight", "phi3"),
    GGUF("GGUF file of a Gemma", &nb_arch_gguf_gemma, "blk.%u.attn_q.weight", "gemma"),
    GGUF("GGUF file of an OLMo", &nb_arch_gguf_olmo, "blk.%u.attn_q.weight", "olmo"),
    GGUF("GGUF file of an OLMo 2", &nb_arch_gguf_olmo2, "blk.%u.attn_q.weight", "olmo2"),
    GGUF("GGUF file of a SmolLM3", &nb_arch_gguf_smollm3, "blk.%u.attn_q.weight", "smollm3"),
    GGUF("GGUF file of a GPT-2", &nb_arch_gguf_gpt2, "blk.%u.attn_qkv.weight", "gpt2"),
    HF("Hugging Face GPT-2 model", &nb_arch_gpt2, "{transformer.|}h.%u.attn.c_attn.weight", "gpt2"),
    HF("Hugging Face Llama model", &nb_arch_llama, "{model.|}layers.%u.self_attn.q_proj.weight", "llama"),
    HF("Hugging Face Mistral model", &nb_arch_mistral, "{model.|}layers.%u.self_attn.q_proj.weight", "mistral"),
    HF("Hugging Face Qwen2 model", &nb_arch_qwen2, "{model.|}layers.%u.self_attn.q_proj.weight", "qwen2"),
    HF("Hugging Face Qwen3 model", &nb_arch_qwen3, "{model.|}layers.%u.self_attn.q_proj.weight", "qwen3"),
    HF("Hugging Face Phi-3 model", &nb_arch_phi3, "{model.|}layers.%u.self_attn.qkv_proj.weight", "phi3"),
    HF("Hugging Face Gemma model", &nb_arch_gemma, "{model.|}layers.%u.self_attn.q_proj.weight", "gemma"),
    HF("Hugging Face OLMo model", &nb_arch_olmo, "{model.|}layers.%u.self_attn.q_proj.weight", "olmo"),
    HF("Hugging Face OLMo 2 model", &nb_arch_olmo2, "{model.|}layers.%u.self_attn.q_proj.weight", "olmo2"),
    HF("Hugging Face OLMo 3 model", &nb_arch_olmo3, "{model.|}layers.%u.self_attn.q_proj.weight", "olmo3"),
    HF("Hugging Face SmolLM3 model", &nb_arch_smollm3, "{model.|}layers.%u.self_attn.q_proj.weight", "smollm3"),
    HF("Hugging Face nanochat model", &nb_arch_nanochat_hf, "{model.|}layers.%u.self_attn.q_proj.weight", "nanochat"),
};
const size_t nb_form_count = sizeof nb_forms / sizeof *nb_forms;

/* ---- the file of a folder ---- */

static bool wanted(const nb_form *form, const char *arch) { return !arch || !strcmp(arch, form->arch->name); }

/* Whether an earlier form looks for the same files. */
static bool repeats(size_t at, const char *arch) {
    for (size_t i = 0; i < at; i++)
        if (wanted(&nb_forms[i], arch) && !strcmp(nb_forms[i].files, nb_forms[at].files)) return true;
    return false;
}

/* The first of a form's names that a file in the folder fits. */
static nb_status find_best(const char *folder, const char *files, nb_buf *name, nb_error *err) {
    nb_status st = NB_OK;
    for (const char *at = files; at && !st && !name->size; at = strchr(at, '|')) {
        at += *at == '|';
        st = nb_name_find(folder, at, strcspn(at, "|"), name, err);
    }
    return st;
}

static nb_status nothing_found(const char *path, const char *arch, nb_error *err) {
    nb_buf names = {0};
    nb_buf_printf(&names, "%s/adapter_config.json", path);
    bool adapter = !names.failed && nb_file_exists(nb_buf_str(&names));
    nb_buf_free(&names);
    if (adapter)
        return nb_fail(err, NB_ARGUMENT,
                       "the folder '%s' holds an adapter, no model: convert the model that it is for, with --lora %s",
                       path, path);
    for (size_t i = 0; i < nb_form_count; i++) {
        if (!wanted(&nb_forms[i], arch) || repeats(i, arch)) continue;
        nb_buf_text(&names, names.size ? ", " : "");
        for (const char *c = nb_forms[i].files; *c; c++)
            if (*c == '|') nb_buf_text(&names, ", ");
            else nb_buf_byte(&names, *c == '#' ? '*' : (uint8_t)*c);
    }
    nb_status st = nb_fail(err, NB_MISSING, "the folder '%s' holds no checkpoint that is known (%s)", path,
                           nb_buf_str(&names));
    nb_buf_free(&names);
    return st;
}

static nb_status find_in_folder(const char *path, const char *arch, nb_buf *file, nb_error *err) {
    nb_buf first = {0}, name = {0};
    const char *title = "";
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < nb_form_count; i++) {
        if (!wanted(&nb_forms[i], arch) || repeats(i, arch)) continue;
        nb_buf_clear(&name);
        st = find_best(path, nb_forms[i].files, &name, err);
        if (st || !name.size) continue;
        if (first.size)
            st = nb_fail(
                err, NB_ARGUMENT,
                "the folder '%s' holds two checkpoints: '%s' (like a %s) and '%s' (like a %s); name the file, or "
                "choose a family with --arch",
                path, nb_buf_str(&first), title, nb_buf_str(&name), nb_forms[i].title);
        nb_buf_append(&first, name.data, name.size);
        title = nb_forms[i].title;
    }
    if (!st && !first.size) st = nothing_found(path, arch, err);
    if (!st) nb_buf_printf(file, "%s%s%s", path, path[strlen(path) - 1] == '/' ? "" : "/", nb_buf_str(&first));
    if (!st && first.failed) st = nb_oom(err, "a file name", first.size);
    nb_buf_free(&first);
    nb_buf_free(&name);
    return st;
}

static nb_status find_file(nb_input *in, const char *path, const char *arch, nb_error *err) {
    nb_buf file = {0};
    nb_status st = NB_OK;
    if (*path && nb_is_directory(path)) st = find_in_folder(path, arch, &file, err);
    else nb_buf_text(&file, path);
    if (!st && !(in->path = file.failed ? NULL : nb_strdup(nb_buf_str(&file)))) st = nb_oom(err, "a path", file.size);
    nb_buf_free(&file);
    return st;
}

/* ---- configuration ---- */

typedef struct config_file { /* the one that was read last */
    char path[4096];
    const nb_value *root;
} config_file;

/* The number in the name of the checkpoint's file, from the first of the form's names that it fits. */
static bool number_of(const nb_form *form, const char *base, const char **digits, size_t *n) {
    for (const char *at = form->files; at; at = strchr(at, '|')) {
        at += *at == '|';
        if (nb_name_match(at, strcspn(at, "|"), base, digits, n)) return true;
    }
    return false;
}

/* The name of the form's configuration file for this checkpoint; false when it has none. */
static bool config_name(const nb_input *in, const nb_form *form, char *name, size_t size) {
    const char *digits = "", *hole = form->config_file ? strchr(form->config_file, '#') : NULL;
    size_t n;
    if (!form->config_file) return false;
    if (!hole) return (size_t)snprintf(name, size, "%s", form->config_file) < size;
    if (!number_of(form, nb_name_base(in->path), &digits, &n)) return false;
    int head = (int)(hole - form->config_file);
    return (size_t)snprintf(name, size, "%.*s%.*s%s", head, form->config_file, (int)n, digits, hole + 1) < size;
}

/* The form's configuration, from the checkpoint or from the file beside it; *config NULL when there is none. */
static nb_status find_config(nb_input *in, const nb_form *form, config_file *last, const nb_value **config,
                             nb_error *err) {
    char name[300], path[sizeof last->path];
    nb_status st = NB_OK;
    *config = form->config_path ? nb_value_path(in->source->meta, form->config_path) : NULL;
    if (!config_name(in, form, name, sizeof name) || !nb_name_beside(in->path, name, path, sizeof path) ||
        !nb_file_exists(path))
        return NB_OK;
    if (strcmp(path, last->path) != 0) {
        last->path[0] = 0;
        st = nb_value_from_json_file(path, &in->arena, &last->root, err);
        if (!st) memcpy(last->path, path, sizeof path);
    }
    if (!st) *config = nb_value_path(last->root, form->config_key);
    return st;
}

/* ---- families ---- */

static bool has_tensor(const nb_source *s, const char *pattern) {
    uint32_t layer;
    for (size_t i = 0; i < s->n_tensors; i++)
        if (nb_arch_match(pattern, s->tensors[i].name, &layer)) return true;
    return false;
}

/* How well a form fits: 0 not at all, 1 by its tensors, 2 by its configuration too. */
static nb_status rank(nb_input *in, const nb_form *form, config_file *last, int *value, nb_error *err) {
    const nb_value *config, *sign;
    *value = 0;
    if (!has_tensor(in->source, form->tensor)) return NB_OK;
    nb_status st = find_config(in, form, last, &config, err);
    if (st) return st;
    sign = form->sign ? nb_value_path(config, form->sign) : NULL;
    bool signed_ = sign && (!form->sign_text || nb_value_is_text(sign, form->sign_text));
    bool inside = form->config_path && nb_value_path(in->source->meta, form->config_path);
    if ((form->config_path && !inside) || (form->sign && !signed_)) return NB_OK;
    *value = inside || signed_ ? 2 : 1;
    return NB_OK;
}

static nb_status check_arch(const char *arch, nb_error *err) {
    nb_buf names = {0};
    for (size_t i = 0; i < nb_form_count; i++)
        if (wanted(&nb_forms[i], arch)) return NB_OK;
    nb_arch_names(&names);
    nb_status st = nb_fail(err, NB_ARGUMENT, "architecture '%s' is not known; there are %s", arch, nb_buf_str(&names));
    nb_buf_free(&names);
    return st;
}

static nb_status not_recognised(const nb_input *in, const config_file *last, nb_error *err) {
    nb_buf names = {0}, archs = {0}, type = {0};
    const nb_source *s = in->source;
    const nb_value *said =
        last->path[0] ? nb_value_get(last->root, "model_type") : nb_value_path(s->meta, "model/architecture");
    for (size_t i = 0; i < s->n_tensors && i < 6; i++) nb_buf_printf(&names, "%s%s", i ? ", " : "", s->tensors[i].name);
    if (said && said->kind == NB_VALUE_STR) nb_buf_printf(&type, "; its configuration says '%.60s'", said->text);
    nb_arch_names(&archs);
    nb_status st =
        nb_fail(err, NB_UNSUPPORTED, "'%s' holds %zu tensors of no family that is known (%s); they are named %s%s%s",
                in->path, s->n_tensors, nb_buf_str(&archs), nb_buf_str(&names), s->n_tensors > 6 ? ", ..." : "",
                nb_buf_str(&type));
    nb_buf_free(&names);
    nb_buf_free(&archs);
    nb_buf_free(&type);
    return st;
}

static nb_status ambiguous(const nb_input *in, const nb_form *a, const nb_form *b, nb_error *err) {
    return nb_fail(err, NB_ARGUMENT, "'%s' can be a %s or a %s; say which with --arch %s or --arch %s", in->path,
                   a->title, b->title, a->arch->name, b->arch->name);
}

/* The best fitting form; with `arch` one of that family even when none fits, so that the plan can say what is missing.
 */
static nb_status choose_form(nb_input *in, const char *arch, config_file *last, nb_error *err) {
    const nb_form *rival = NULL;
    int best = 0, value;
    for (size_t i = 0; i < nb_form_count; i++) {
        const nb_form *f = &nb_forms[i];
        if (!wanted(f, arch)) continue;
        nb_status st = rank(in, f, last, &value, err);
        if (st) return st;
        if (value > best || (arch && !in->form)) {
            in->form = f;
            rival = NULL;
            best = value;
        } else if (value && value == best && f->arch != in->form->arch) {
            rival = f;
        }
    }
    if (rival) return ambiguous(in, in->form, rival, err);
    return in->form ? NB_OK : not_recognised(in, last, err);
}

static nb_status load_config(nb_input *in, config_file *last, void (*say)(void *user, const char *sentence), void *user,
                             nb_error *err) {
    char name[300], text[400];
    nb_status st = find_config(in, in->form, last, &in->config, err);
    if (st || in->config || !config_name(in, in->form, name, sizeof name)) return st;
    bool found = last->path[0] && !strcmp(nb_name_base(last->path), name);
    if (found) return nb_fail(err, NB_FORMAT, "'%s' has no '%s'", last->path, in->form->config_key);
    /* What numbered ones and those with a sign say is needed; others exist when somebody made them. */
    bool expected = strchr(in->form->config_file, '#') || in->form->sign;
    snprintf(text, sizeof text, "'%s' is not beside the checkpoint: the configuration is guessed from shapes and --set",
             name);
    if (expected && say) say(user, text);
    return NB_OK;
}

nb_status nb_input_open(nb_input *in, const char *path, const char *arch, void (*say)(void *user, const char *sentence),
                        void *user, nb_error *err) {
    *in = (nb_input){.arena = {.limit = NB_PICKLE_ARENA}};
    config_file *last = nb_calloc(1, sizeof *last);
    nb_status st = last ? check_arch(arch, err) : nb_oom(err, "a path", sizeof *last);
    if (!st) st = find_file(in, path, arch, err);
    if (!st) st = nb_container_open(&in->source, in->path, err);
    if (!st) st = choose_form(in, arch, last, err);
    if (!st) st = load_config(in, last, say, user, err);
    nb_free(last);
    if (st) nb_input_close(in);
    return st;
}

void nb_input_close(nb_input *in) {
    nb_source_close(in->source);
    nb_arena_free(&in->arena);
    nb_free(in->path);
    *in = (nb_input){0};
}
