/* nanochat: RMS norms without weights, backwards RoPE and then a norm of q and k, ReLU squared; since 2026 also what its tensors
 * show: mixed residuals, value embeddings, smear, backout, windows. */
#include "convert/arch.h"

#define LAYER "transformer.h.%u."
static const nb_map_row map[] = {
    {"transformer.wte.weight", NB_SPEC_embed, NB_PART_WHOLE, NB_MAP_CROP}, /* padded since December 2025 */
    {"lm_head.weight", NB_SPEC_head, NB_PART_WHOLE, NB_MAP_CROP},
    {LAYER "attn.c_q.weight", NB_SPEC_qkv_w, NB_PART_Q, NB_MAP_SAME},
    {LAYER "attn.c_k.weight", NB_SPEC_qkv_w, NB_PART_K, NB_MAP_SAME},
    {LAYER "attn.c_v.weight", NB_SPEC_qkv_w, NB_PART_V, NB_MAP_SAME},
    {LAYER "attn.c_proj.weight", NB_SPEC_out_w, NB_PART_WHOLE, NB_MAP_SAME},
    {LAYER "mlp.c_fc.weight", NB_SPEC_up_w, NB_PART_WHOLE, NB_MAP_SAME},
    {LAYER "mlp.c_proj.weight", NB_SPEC_down_w, NB_PART_WHOLE, NB_MAP_SAME},
    {"value_embeds.%u.weight", NB_SPEC_value_embed, NB_PART_WHOLE, NB_MAP_CROP},
    {LAYER "attn.ve_gate.weight", NB_SPEC_value_gate, NB_PART_WHOLE, NB_MAP_SAME},
    {"resid_lambdas", NB_SPEC_resid_lambdas, NB_PART_WHOLE, NB_MAP_SAME},
    {"x0_lambdas", NB_SPEC_x0_lambdas, NB_PART_WHOLE, NB_MAP_SAME},
    {"smear_gate.weight", NB_SPEC_smear_gate, NB_PART_WHOLE, NB_MAP_SAME},
    {"smear_lambda", NB_SPEC_smear_lambda, NB_PART_WHOLE, NB_MAP_SAME},
    {"backout_lambda", NB_SPEC_backout_lambda, NB_PART_WHOLE, NB_MAP_SAME},
    {"cos", 0, 0, NB_MAP_IGNORE}, /* rotary tables; not persistent in any known version, harmless if saved */
    {"sin", 0, 0, NB_MAP_IGNORE},
};

static const nb_fact facts[] = {
    {"n_layer", NB_FACT_KEY, "n_layer", NULL, 0},
    {"n_layer", NB_FACT_LAYERS, LAYER "attn.c_q.weight", NULL, 0},
    {"n_embd", NB_FACT_KEY, "n_embd", NULL, 0},
    {"n_embd", NB_FACT_COLS, "transformer.wte.weight", NULL, 0},
    {"n_head", NB_FACT_KEY, "n_head", NULL, 0},
    {"n_kv_head", NB_FACT_KEY, "n_kv_head", NULL, 0},
    {"n_ctx", NB_FACT_KEY, "sequence_len", NULL, 0},
    {"vocab_size", NB_FACT_KEY, "vocab_size", NULL, 0},
    {"vocab_size", NB_FACT_ROWS, "transformer.wte.weight", NULL, 0},
    {"n_ff", NB_FACT_ROWS, "transformer.h.0.mlp.c_fc.weight", NULL, 0},
    {"norm", NB_FACT_IS, NULL, NULL, NB_NORM_RMS},
    {"norm_eps", NB_FACT_IS, NULL, NULL, 0x1p-23}, /* torch.finfo(torch.float32).eps, the default of rms_norm */
    {"norm_weight", NB_FACT_IS, NULL, NULL, 0},
    {"embed_norm", NB_FACT_IS, NULL, NULL, 1},
    {"pos", NB_FACT_IS, NULL, NULL, NB_POS_ROPE},
    {"qk_norm", NB_FACT_IS, NULL, NULL, NB_QKNORM_AFTER_ROPE},
    {"act", NB_FACT_IS, NULL, NULL, NB_ACT_RELU2},
    {"softcap", NB_FACT_IS, NULL, NULL, 15},
    {"residual_mix", NB_FACT_HAS, "resid_lambdas", NULL, 0},
    {"smear_channels", NB_FACT_COLS, "smear_gate.weight", NULL, 0},
    {"value_channels", NB_FACT_COLS, LAYER "attn.ve_gate.weight", NULL, 0},
    {"backout", NB_FACT_HAS, "backout_lambda", NULL, 0},
};

/* Constants that stand in nanochat's code and not in its checkpoints, newest first: dates are those of its history. */
#define SINCE_JANUARY {"rope_theta", NB_FACT_IS, NULL, NULL, 10000}, {"rope_bf16", NB_FACT_IS, NULL, NULL, 1}
#define SINCE_MARCH_9 {"rope_theta", NB_FACT_IS, NULL, NULL, 100000}
#define VALUES(gain) {"value_every", NB_FACT_IS, NULL, NULL, 2}, {"value_gain", NB_FACT_IS, NULL, NULL, gain}
#define QK_SCALE(factor) {"qk_scale", NB_FACT_IS, NULL, NULL, factor}
static const nb_fact smeared[] = {SINCE_MARCH_9, VALUES(3), QK_SCALE(1.2)};
static const nb_fact sharp[] = {SINCE_MARCH_9, VALUES(3), QK_SCALE(1.15)};
static const nb_fact valued[] = {SINCE_JANUARY, VALUES(2)};
static const nb_fact first[] = {SINCE_JANUARY};
#define FACTS(list) list, sizeof(list) / sizeof *(list)
static const nb_era eras[] = {
    /* when, a tensor that shows it and its columns, facts, share and unit of a short window */
    {"March 14, 2026 and later", "smear_gate.weight", 0, FACTS(smeared), 4, 128},
    {"March 9 to 14, 2026", LAYER "attn.ve_gate.weight", 12, FACTS(sharp), 3, 128},
    {"January 17 to March 9, 2026", LAYER "attn.ve_gate.weight", 32, FACTS(valued), 2, 0},
    {"January 11 to 16, 2026", "resid_lambdas", 0, FACTS(first), 2, 0},
    {"before January 11, 2026", NULL, 0, FACTS(first), 0, 0},
};

const nb_arch nb_arch_nanochat = {
    .name = "nanochat",
    .chat_style = "nanochat",
    .tokenizer_files = {"tokenizer.pkl"},
    NB_ARCH_TABLES(map, facts),
    .rope_sign = -1,
    .eras = eras,
    .n_eras = sizeof eras / sizeof *eras,
    .windows = NB_WINDOWS_PATTERN,
};
