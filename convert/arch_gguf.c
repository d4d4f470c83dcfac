/* GGUF's architectures, with the tensor names of llama.cpp. Its converter interleaves the rows of q and k of llama (also of
 * Mistral) and olmo, not those of the others, and adds the 1 to gemma's norms. */
#include "convert/arch.h"

#define LAYER "blk.%u."
#define MAP(rotated)                                                              \
    {"token_embd.weight", NB_SPEC_embed, NB_PART_WHOLE, NB_MAP_SAME},             \
    {"output_norm.weight", NB_SPEC_norm_w, NB_PART_WHOLE, NB_MAP_SAME},           \
    {"output.weight", NB_SPEC_head, NB_PART_WHOLE, NB_MAP_TIED},                  \
    {LAYER "attn_q.weight", NB_SPEC_qkv_w, NB_PART_Q, rotated},                   \
    {LAYER "attn_k.weight", NB_SPEC_qkv_w, NB_PART_K, rotated},                   \
    {LAYER "attn_v.weight", NB_SPEC_qkv_w, NB_PART_V, NB_MAP_SAME},               \
    {LAYER "attn_q.bias", NB_SPEC_qkv_b, NB_PART_Q, rotated},                     \
    {LAYER "attn_k.bias", NB_SPEC_qkv_b, NB_PART_K, rotated},                     \
    {LAYER "attn_v.bias", NB_SPEC_qkv_b, NB_PART_V, NB_MAP_SAME},                 \
    {LAYER "attn_q_norm.weight", NB_SPEC_q_norm_w, NB_PART_WHOLE, NB_MAP_SAME},   \
    {LAYER "attn_k_norm.weight", NB_SPEC_k_norm_w, NB_PART_WHOLE, NB_MAP_SAME},   \
    {LAYER "attn_output.weight", NB_SPEC_out_w, NB_PART_WHOLE, NB_MAP_SAME},      \
    {LAYER "attn_output.bias", NB_SPEC_out_b, NB_PART_WHOLE, NB_MAP_SAME},        \
    {LAYER "ffn_gate.weight", NB_SPEC_up_w, NB_PART_GATE, NB_MAP_SAME},           \
    {LAYER "ffn_up.weight", NB_SPEC_up_w, NB_PART_UP, NB_MAP_SAME},               \
    {LAYER "ffn_down.weight", NB_SPEC_down_w, NB_PART_WHOLE, NB_MAP_SAME},        \
    {"rope_freqs.weight", 0, 0, NB_MAP_IGNORE}, /* read with the scaling of the rotary positions */ \
    {LAYER "attn_rot_embd", 0, 0, NB_MAP_IGNORE}

#define NORMS(of_attention, of_mlp)                                                   \
    {LAYER of_attention ".weight", NB_SPEC_attn_norm_w, NB_PART_WHOLE, NB_MAP_SAME},  \
    {LAYER of_mlp ".weight", NB_SPEC_mlp_norm_w, NB_PART_WHOLE, NB_MAP_SAME}

static const nb_map_row pairs_map[] = {MAP(NB_MAP_PAIRS), NORMS("attn_norm", "ffn_norm")};
static const nb_map_row halves_map[] = {MAP(NB_MAP_SAME), NORMS("attn_norm", "ffn_norm")};
static const nb_map_row olmo2_map[] = {MAP(NB_MAP_SAME), NORMS("post_attention_norm", "post_ffw_norm")};
static const nb_map_row phi3_map[] = {
    {LAYER "attn_qkv.weight", NB_SPEC_qkv_w, NB_PART_WHOLE, NB_MAP_SAME},
    {LAYER "ffn_up.weight", NB_SPEC_up_w, NB_PART_WHOLE, NB_MAP_SAME}, /* and the gate before it */
    {"rope_factors_{long|short}.weight", 0, 0, NB_MAP_IGNORE},         /* as rope_freqs */
    MAP(NB_MAP_SAME),
    NORMS("attn_norm", "ffn_norm"),
};
static const nb_map_row gpt2_map[] = {
    {"token_embd.weight", NB_SPEC_embed, NB_PART_WHOLE, NB_MAP_SAME},
    {"position_embd.weight", NB_SPEC_pos, NB_PART_WHOLE, NB_MAP_SAME},
    {"output_norm.weight", NB_SPEC_norm_w, NB_PART_WHOLE, NB_MAP_SAME},
    {"output_norm.bias", NB_SPEC_norm_b, NB_PART_WHOLE, NB_MAP_SAME},
    {"output.weight", NB_SPEC_head, NB_PART_WHOLE, NB_MAP_TIED},
    {LAYER "attn_norm.weight", NB_SPEC_attn_norm_w, NB_PART_WHOLE, NB_MAP_SAME},
    {LAYER "attn_norm.bias", NB_SPEC_attn_norm_b, NB_PART_WHOLE, NB_MAP_SAME},
    {LAYER "attn_qkv.weight", NB_SPEC_qkv_w, NB_PART_WHOLE, NB_MAP_SAME},
    {LAYER "attn_qkv.bias", NB_SPEC_qkv_b, NB_PART_WHOLE, NB_MAP_SAME},
    {LAYER "attn_output.weight", NB_SPEC_out_w, NB_PART_WHOLE, NB_MAP_SAME},
    {LAYER "attn_output.bias", NB_SPEC_out_b, NB_PART_WHOLE, NB_MAP_SAME},
    {LAYER "ffn_norm.weight", NB_SPEC_mlp_norm_w, NB_PART_WHOLE, NB_MAP_SAME},
    {LAYER "ffn_norm.bias", NB_SPEC_mlp_norm_b, NB_PART_WHOLE, NB_MAP_SAME},
    {LAYER "ffn_up.weight", NB_SPEC_up_w, NB_PART_WHOLE, NB_MAP_SAME},
    {LAYER "ffn_up.bias", NB_SPEC_up_b, NB_PART_WHOLE, NB_MAP_SAME},
    {LAYER "ffn_down.weight", NB_SPEC_down_w, NB_PART_WHOLE, NB_MAP_SAME},
    {LAYER "ffn_down.bias", NB_SPEC_down_b, NB_PART_WHOLE, NB_MAP_SAME},
};

/* Keys are those of the architecture, without its name before them (source_gguf.c). */
#define SHAPE                                                     \
    {"n_layer", NB_FACT_KEY, "block_count", NULL, 0},             \
    {"n_embd", NB_FACT_KEY, "embedding_length", NULL, 0},         \
    {"n_head", NB_FACT_KEY, "attention.head_count", NULL, 0},     \
    {"n_ff", NB_FACT_KEY, "feed_forward_length", NULL, 0},        \
    {"n_ctx", NB_FACT_KEY, "context_length", NULL, 0},            \
    {"vocab_size", NB_FACT_ROWS, "token_embd.weight", NULL, 0},   \
    {"tied", NB_FACT_SAME, "output.weight", "token_embd.weight", 0}, \
    {"tied", NB_FACT_IS, NULL, NULL, 1}

#define FACTS                                                                     \
    SHAPE,                                                                        \
    {"n_kv_head", NB_FACT_KEY, "attention.head_count_kv", NULL, 0},               \
    {"head_dim", NB_FACT_KEY, "attention.key_length", NULL, 0},                   \
    {"attn_scale", NB_FACT_KEY, "attention.scale", NULL, 0},                      \
    {"norm", NB_FACT_IS, NULL, NULL, NB_NORM_RMS},                                \
    {"norm_eps", NB_FACT_KEY, "attention.layer_norm_rms_epsilon", NULL, 0},       \
    {"norm_eps", NB_FACT_IS, NULL, NULL, 1e-5},                                   \
    {"pos", NB_FACT_IS, NULL, NULL, NB_POS_ROPE},                                 \
    {"rope_theta", NB_FACT_KEY, "rope.freq_base", NULL, 0},                       \
    {"rope_theta", NB_FACT_IS, NULL, NULL, 10000},                                \
    {"qkv_bias", NB_FACT_HAS, "blk.0.attn_q.bias", NULL, 0},                      \
    {"out_bias", NB_FACT_HAS, "blk.0.attn_output.bias", NULL, 0},                 \
    {"act", NB_FACT_IS, NULL, NULL, NB_ACT_SILU},                                 \
    {"glu", NB_FACT_IS, NULL, NULL, 1}

static const nb_fact llama_facts[] = {FACTS};
static const nb_fact qwen3_facts[] = {
    FACTS,
    {"qk_norm", NB_FACT_IS, NULL, NULL, NB_QKNORM_BEFORE_ROPE},
    {"qk_norm_weight", NB_FACT_IS, NULL, NULL, 1},
};
static const nb_fact gemma_facts[] = {{"act", NB_FACT_IS, NULL, NULL, NB_ACT_GELU_TANH}, FACTS};
static const nb_fact olmo_facts[] = {
    {"norm", NB_FACT_IS, NULL, NULL, NB_NORM_LAYER},
    {"norm_eps", NB_FACT_KEY, "attention.layer_norm_epsilon", NULL, 0},
    {"norm_weight", NB_FACT_IS, NULL, NULL, 0},
    {"clip_qkv", NB_FACT_KEY, "attention.clamp_kqv", NULL, 0},
    FACTS,
};
static const nb_fact olmo2_facts[] = {
    FACTS,
    {"post_norm", NB_FACT_IS, NULL, NULL, 1},
    {"qk_norm", NB_FACT_IS, NULL, NULL, NB_QKNORM_TOGETHER},
    {"qk_norm_weight", NB_FACT_IS, NULL, NULL, 1},
};
static const nb_fact gpt2_facts[] = {
    SHAPE,
    {"norm", NB_FACT_IS, NULL, NULL, NB_NORM_LAYER},
    {"norm_eps", NB_FACT_KEY, "attention.layer_norm_epsilon", NULL, 0},
    {"norm_eps", NB_FACT_IS, NULL, NULL, 1e-5},
    {"norm_bias", NB_FACT_IS, NULL, NULL, 1},
    {"pos", NB_FACT_IS, NULL, NULL, NB_POS_LEARNED},
    {"qkv_bias", NB_FACT_IS, NULL, NULL, 1},
    {"out_bias", NB_FACT_IS, NULL, NULL, 1},
    {"mlp_bias", NB_FACT_IS, NULL, NULL, 1},
    {"act", NB_FACT_IS, NULL, NULL, NB_ACT_GELU_TANH},
};

static const nb_demand demands[] = {
    {"expert_count", "0"},
    {"use_parallel_residual", "false"},
    {"embedding_scale", "0|1"}, /* Granite's; 0 is none */
    {"residual_scale", "0|1"},
    {"logit_scale", "0|1"},
    {"rope.scale_linear", "1"}, /* how scalings were written before rope.scaling.type */
};

#define ARCH(title, its_map, its_facts, ...)                   \
    {.name = "gguf-" title,                                    \
     .architecture = title,                                    \
     .chat_style = "plain",                                    \
     .tokenizer_files = {"tokenizer.json", "tokenizer.model"}, \
     NB_ARCH_TABLES(its_map, its_facts),                       \
     .demands = demands,                                       \
     .n_demands = sizeof demands / sizeof *demands,            \
     __VA_ARGS__}
const nb_arch nb_arch_gguf_llama = ARCH("llama", pairs_map, llama_facts, .rope_sign = 1);
const nb_arch nb_arch_gguf_qwen2 = ARCH("qwen2", halves_map, llama_facts, .rope_sign = 1);
const nb_arch nb_arch_gguf_qwen3 = ARCH("qwen3", halves_map, qwen3_facts, .rope_sign = 1);
const nb_arch nb_arch_gguf_phi3 = ARCH("phi3", phi3_map, llama_facts, .rope_sign = 1, .windows = NB_WINDOWS_SLIDING);
const nb_arch nb_arch_gguf_gemma = ARCH("gemma", halves_map, gemma_facts, .rope_sign = 1, .embed_gain = true);
const nb_arch nb_arch_gguf_olmo = ARCH("olmo", pairs_map, olmo_facts, .rope_sign = 1);
const nb_arch nb_arch_gguf_olmo2 = ARCH("olmo2", olmo2_map, olmo2_facts, .rope_sign = 1, .windows = NB_WINDOWS_FOURTHS,
                                        .rope = NB_ROPE_TYPED);
const nb_arch nb_arch_gguf_smollm3 = ARCH("smollm3", pairs_map, llama_facts, .rope_sign = 1, .rope = NB_ROPE_SOME);
const nb_arch nb_arch_gguf_gpt2 = ARCH("gpt2", gpt2_map, gpt2_facts, .rope_sign = 1);
