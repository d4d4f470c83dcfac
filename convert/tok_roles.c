#include <string.h>
#include "convert/tok.h"

/* What special tokens are for, by their usual names. */
enum { ROLE_BOS = 1, ROLE_STOP = 2, ROLE_UNK = 4, ROLE_PAD = 8 };
static const struct {
    const char *text;
    int roles;
} roles[] = {
    {"<|bos|>", ROLE_BOS | ROLE_STOP}, /* nanochat: a new document ends the answer too */
    {"<|assistant_end|>", ROLE_STOP},
    {"<|endoftext|>", ROLE_BOS | ROLE_STOP},
    {"</s>", ROLE_STOP},
    {"<eos>", ROLE_STOP},
    {"<|im_end|>", ROLE_STOP},
    {"<|end|>", ROLE_STOP},
    {"<|eot_id|>", ROLE_STOP},
    {"<|eom_id|>", ROLE_STOP},
    {"<|end_of_text|>", ROLE_STOP},
    {"<end_of_turn>", ROLE_STOP},
    {"<pad>", ROLE_PAD}, /* MiniGPT */
    {"<unk>", ROLE_UNK},
    {"<sep>", ROLE_STOP},
};

bool nb_tok_is_special(const char *text, size_t n) {
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strlen(roles[i].text) == n && !memcmp(roles[i].text, text, n)) return true;
    return false;
}

nb_status nb_tok_apply_roles(nb_vocab *v, bool told, nb_error *err) {
    nb_status st = NB_OK;
    for (size_t i = 0; !st && i < sizeof roles / sizeof *roles; i++) {
        int32_t id = nb_vocab_special(v, roles[i].text);
        if (id == NB_NO_TOKEN) continue;
        if (roles[i].roles & ROLE_BOS && !told && v->bos == NB_NO_TOKEN) v->bos = id;
        if (roles[i].roles & ROLE_UNK && !told && v->unk == NB_NO_TOKEN) v->unk = id;
        if (roles[i].roles & ROLE_PAD && v->pad == NB_NO_TOKEN) v->pad = id;
        if (roles[i].roles & ROLE_STOP) st = nb_vocab_add_stop(v, id, err);
    }
    return st;
}
