#include "convert/forms.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "convert/pickle.h"
#include "convert/tok.h"

const nb_form nb_forms[] = {
    {"nanochat checkpoint", &nb_arch_nanochat, "model_*.pt", "transformer.h.%u.attn.c_q.weight", NULL, "meta_*.json",
     "model_config"},
    {"nanoGPT checkpoint", &nb_arch_nanogpt, "ckpt.pt", "transformer.h.%u.attn.c_attn.weight", "model_args", NULL, ""},
    {"MiniGPT checkpoint", &nb_arch_minigpt, "best_model.pth", "transformer.blocks.%u.attn.qkv_proj.weight", NULL,
     "config.json", ""},
};
const size_t nb_form_count = sizeof nb_forms / sizeof *nb_forms;

/* Containers by their first bytes: how they are opened, or why not. */
#define MAGIC(bytes) bytes, sizeof bytes - 1
static const struct {
    const char *magic;
    size_t n;
    nb_status (*open)(nb_source **source, const char *path, nb_error *err);
    const char *refusal;
} containers[] = {
    {MAGIC("PK\3\4"), nb_source_torch_open, NULL},
    {MAGIC("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"), NULL,
     "it is in the format of PyTorch before 1.6; save it again with a newer one: torch.save(torch.load('old.pt', "
     "map_location='cpu'), 'new.pt')"},
    {MAGIC("\x80"), NULL, "it is a bare pickle, expected a checkpoint written by torch.save"},
    {MAGIC("GGUF"), NULL, "it is a GGUF file, which this version does not read"},
    {MAGIC("\x89NBL"), NULL, "it is a model file already"},
};

/* ---- file names with a number in them ---- */

/* Whether `name` is `pattern` with digits in place of '*'; *digits then points to them. */
static bool match(const char *pattern, const char *name, const char **digits, size_t *n) {
    const char *star = strchr(pattern, '*');
    *n = 0;
    if (!star) return !strcmp(pattern, name);
    size_t head = (size_t)(star - pattern), tail = strlen(star + 1), length = strlen(name);
    if (length <= head + tail || memcmp(pattern, name, head) != 0) return false;
    if (strcmp(star + 1, name + length - tail) != 0) return false;
    *digits = name + head;
    *n = length - head - tail;
    return strspn(*digits, "0123456789") >= *n;
}

/* Numbers of any length: without leading zeros the longer is larger. */
static bool larger(const char *a, size_t na, const char *b, size_t nb) {
    while (na && *a == '0') a++, na--;
    while (nb && *b == '0') b++, nb--;
    return na != nb ? na > nb : memcmp(a, b, na) > 0;
}

/* The name in the open folder that matches the pattern, the one with the largest number; appended to `best`. */
static nb_status newest(DIR *folder, const char *pattern, nb_buf *best, nb_error *err) {
    const struct dirent *e;
    rewinddir(folder);
    nb_buf_clear(best);
    while ((e = readdir(folder))) {
        const char *digits = "", *best_digits = "";
        size_t n, n_best;
        if (!match(pattern, e->d_name, &digits, &n)) continue;
        if (best->size && match(pattern, nb_buf_str(best), &best_digits, &n_best) &&
            !larger(digits, n, best_digits, n_best))
            continue;
        nb_buf_clear(best);
        nb_buf_text(best, e->d_name);
    }
    return best->failed ? nb_oom(err, "a file name", best->size) : NB_OK;
}

static nb_status find_in_folder(const char *path, const char *arch, nb_buf *file, nb_error *err) {
    DIR *folder = opendir(path);
    nb_buf name = {0};
    nb_status st = NB_OK;
    if (!folder) return nb_fail_errno(err, errno, "'%s' cannot be listed", path);
    for (size_t i = 0; !st && !name.size && i < nb_form_count; i++)
        if (!arch || !strcmp(arch, nb_forms[i].arch->name)) st = newest(folder, nb_forms[i].file, &name, err);
    closedir(folder);
    if (!st && !name.size) {
        nb_buf names = {0};
        for (size_t i = 0; i < nb_form_count; i++) nb_buf_printf(&names, "%s%s", i ? ", " : "", nb_forms[i].file);
        st = nb_fail(err, NB_MISSING, "the folder '%s' holds no checkpoint that is known (%s)", path,
                     nb_buf_str(&names));
        nb_buf_free(&names);
    }
    if (!st) nb_buf_printf(file, "%s%s%s", path, path[strlen(path) - 1] == '/' ? "" : "/", nb_buf_str(&name));
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

/* ---- containers ---- */

static nb_status open_container(nb_input *in, nb_error *err) {
    unsigned char head[32];
    int fd = open(in->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return nb_fail_errno(err, errno, "'%s' cannot be opened", in->path);
    ssize_t n = read(fd, head, sizeof head);
    int failed = errno;
    close(fd);
    if (n < 0) return nb_fail_errno(err, failed, "'%s' cannot be read", in->path);
    for (size_t i = 0; i < sizeof containers / sizeof *containers; i++) {
        if ((size_t)n < containers[i].n || memcmp(head, containers[i].magic, containers[i].n) != 0) continue;
        if (containers[i].open) return containers[i].open(&in->source, in->path, err);
        return nb_fail(err, NB_UNSUPPORTED, "'%s': %s", in->path, containers[i].refusal);
    }
    return nb_fail(err, NB_UNSUPPORTED, "'%s' is no checkpoint of a known form: not a zip file of torch.save",
                   in->path);
}

/* ---- families ---- */

static nb_status unknown_arch(const char *arch, nb_error *err) {
    nb_buf names = {0};
    for (size_t i = 0; nb_archs[i]; i++) nb_buf_printf(&names, "%s%s", i ? ", " : "", nb_archs[i]->name);
    nb_status st = nb_fail(err, NB_ARGUMENT, "architecture '%s' is not known; there are %s", arch, nb_buf_str(&names));
    nb_buf_free(&names);
    return st;
}

static nb_status not_recognised(const nb_input *in, nb_error *err) {
    nb_buf names = {0}, archs = {0};
    const nb_source *s = in->source;
    for (size_t i = 0; i < s->n_tensors && i < 6; i++) nb_buf_printf(&names, "%s%s", i ? ", " : "", s->tensors[i].name);
    for (size_t i = 0; nb_archs[i]; i++) nb_buf_printf(&archs, "%s%s", i ? ", " : "", nb_archs[i]->name);
    nb_status st =
        nb_fail(err, NB_UNSUPPORTED, "'%s' holds %zu tensors of no family that is known (%s); they are named %s%s",
                in->path, s->n_tensors, nb_buf_str(&archs), nb_buf_str(&names), s->n_tensors > 6 ? ", ..." : "");
    nb_buf_free(&names);
    nb_buf_free(&archs);
    return st;
}

static bool has_tensor(const nb_source *s, const char *pattern) {
    uint32_t layer;
    for (size_t i = 0; i < s->n_tensors; i++)
        if (nb_arch_match(pattern, s->tensors[i].name, &layer)) return true;
    return false;
}

static nb_status choose_form(nb_input *in, const char *arch, nb_error *err) {
    for (size_t i = 0; i < nb_form_count; i++) {
        const nb_form *f = &nb_forms[i];
        bool fits =
            has_tensor(in->source, f->tensor) && (!f->config_path || nb_value_path(in->source->meta, f->config_path));
        if (arch ? strcmp(arch, f->arch->name) != 0 : !fits) continue;
        in->form = f;
        return NB_OK;
    }
    return arch ? unknown_arch(arch, err) : not_recognised(in, err);
}

/* ---- configuration ---- */

/* The form's configuration file for this checkpoint; false when it has none. */
static bool config_name(const nb_input *in, char *name, size_t size) {
    const char *slash = strrchr(in->path, '/'), *base = slash ? slash + 1 : in->path, *digits = "";
    const char *star = strchr(in->form->config_file, '*');
    size_t n;
    if (!star) return (size_t)snprintf(name, size, "%s", in->form->config_file) < size;
    if (!match(in->form->file, base, &digits, &n)) return false;
    int head = (int)(star - in->form->config_file);
    return (size_t)snprintf(name, size, "%.*s%.*s%s", head, in->form->config_file, (int)n, digits, star + 1) < size;
}

static nb_status load_config(nb_input *in, void (*say)(void *user, const char *sentence), void *user, nb_error *err) {
    char name[300], path[4096], text[400];
    const nb_value *root = NULL;
    if (in->form->config_path) in->config = nb_value_path(in->source->meta, in->form->config_path);
    if (!in->form->config_file || !config_name(in, name, sizeof name)) return NB_OK;
    if (!nb_tok_beside(in->path, name, path, sizeof path) || !nb_file_exists(path)) {
        /* Numbered ones are written by training scripts; others exist when somebody made them. */
        bool expected = strchr(in->form->config_file, '*') != NULL;
        snprintf(text, sizeof text,
                 "'%s' is not beside the checkpoint: the configuration is guessed from shapes and --set", name);
        if (expected && say) say(user, text);
        return NB_OK;
    }
    nb_status st = nb_value_from_json_file(path, &in->arena, &root, err);
    if (st) return st;
    in->config = nb_value_path(root, in->form->config_key);
    if (!in->config) return nb_fail(err, NB_FORMAT, "'%s' has no '%s'", path, in->form->config_key);
    return NB_OK;
}

nb_status nb_input_open(nb_input *in, const char *path, const char *arch, void (*say)(void *user, const char *sentence),
                        void *user, nb_error *err) {
    *in = (nb_input){.arena = {.limit = NB_PICKLE_ARENA}};
    nb_status st = find_file(in, path, arch, err);
    if (!st) st = open_container(in, err);
    if (!st) st = choose_form(in, arch, err);
    if (!st) st = load_config(in, say, user, err);
    if (st) nb_input_close(in);
    return st;
}

void nb_input_close(nb_input *in) {
    nb_source_close(in->source);
    nb_arena_free(&in->arena);
    nb_free(in->path);
    *in = (nb_input){0};
}
