/* Llama and its relatives with the names of Hugging Face's transformers: one map, of which each family uses what it
 * has. Llama (also TinyLlama, SmolLM2, ...), Mistral, Qwen2 (biases on q, k, v), Qwen3 (norms of q and k, free
 * head_dim), Phi-3 (fused projections), Gemma 1 (norms stored without their 1, scaled embeddings, GELU), OLMo (LayerNorms
 * without weights), OLMo 2 (norms behind attention and MLP), OLMo 3 (the same with windows), SmolLM3
 * (blocks that are not rotated), and nanochat's export, which has no norms' weights. */
#include "convert/arch.h"

#define TOP "{model.|}" /* a model that was saved without its head has names without it */
#define LAYER TOP "layers.%u."
#define EMBEDDING TOP "embed_tokens.weight"
#define HEAD "lm_head.weight"
#define ROTARY "rotary_emb.{inv_freq|original_inv_freq|cos_cached|sin_cached}" /* computed here */
#define MAP                                                                                     \
    {EMBEDDING, NB_SPEC_embed, NB_PART_WHOLE, NB_MAP_SAME},                                     \
    {TOP "norm.weight", NB_SPEC_norm_w, NB_PART_WHOLE, NB_MAP_SAME},                            \
    {HEAD, NB_SPEC_head, NB_PART_WHOLE, NB_MAP_TIED},                                           \
    {LAYER "self_attn.q_proj.weight", NB_SPEC_qkv_w, NB_PART_Q, NB_MAP_SAME},                   \
    {LAYER "self_attn.k_proj.weight", NB_SPEC_qkv_w, NB_PART_K, NB_MAP_SAME},                   \
    {LAYER "self_attn.v_proj.weight", NB_SPEC_qkv_w, NB_PART_V, NB_MAP_SAME},                   \
    {LAYER "self_attn.qkv_proj.weight", NB_SPEC_qkv_w, NB_PART_WHOLE, NB_MAP_SAME},             \
    {LAYER "self_attn.q_proj.bias", NB_SPEC_qkv_b, NB_PART_Q, NB_MAP_SAME},                     \
    {LAYER "self_attn.k_proj.bias", NB_SPEC_qkv_b, NB_PART_K, NB_MAP_SAME},                     \
    {LAYER "self_attn.v_proj.bias", NB_SPEC_qkv_b, NB_PART_V, NB_MAP_SAME},                     \
    {LAYER "self_attn.q_norm.weight", NB_SPEC_q_norm_w, NB_PART_WHOLE, NB_MAP_SAME},            \
    {LAYER "self_attn.k_norm.weight", NB_SPEC_k_norm_w, NB_PART_WHOLE, NB_MAP_SAME},            \
    {LAYER "self_attn.o_proj.weight", NB_SPEC_out_w, NB_PART_WHOLE, NB_MAP_SAME},               \
    {LAYER "self_attn.o_proj.bias", NB_SPEC_out_b, NB_PART_WHOLE, NB_MAP_SAME},                 \
    {LAYER "mlp.gate_proj.weight", NB_SPEC_up_w, NB_PART_GATE, NB_MAP_SAME},                    \
    {LAYER "mlp.up_proj.weight", NB_SPEC_up_w, NB_PART_UP, NB_MAP_SAME},                        \
    {LAYER "mlp.gate_up_proj.weight", NB_SPEC_up_w, NB_PART_WHOLE, NB_MAP_SAME},                \
    {LAYER "mlp.gate_proj.bias", NB_SPEC_up_b, NB_PART_GATE, NB_MAP_SAME},                      \
    {LAYER "mlp.up_proj.bias", NB_SPEC_up_b, NB_PART_UP, NB_MAP_SAME},                          \
    {LAYER "mlp.down_proj.weight", NB_SPEC_down_w, NB_PART_WHOLE, NB_MAP_SAME},                 \
    {LAYER "mlp.down_proj.bias", NB_SPEC_down_b, NB_PART_WHOLE, NB_MAP_SAME},                   \
    {LAYER "self_attn." ROTARY, 0, 0, NB_MAP_IGNORE},                                           \
    {TOP ROTARY, 0, 0, NB_MAP_IGNORE}
#define NORMS(of_attention, of_mlp)                                                      \
    {LAYER of_attention ".weight", NB_SPEC_attn_norm_w, NB_PART_WHOLE, NB_MAP_SAME},     \
    {LAYER of_mlp ".weight", NB_SPEC_mlp_norm_w, NB_PART_WHOLE, NB_MAP_SAME}

static const nb_map_row map[] = {MAP, NORMS("input_layernorm", "post_attention_layernorm")};
static const nb_map_row olmo2_map[] = {MAP, NORMS("post_attention_layernorm", "post_feedforward_layernorm")};
static const nb_map_row nanochat_map[] = {
    MAP,
    {LAYER "mlp.fc1.weight", NB_SPEC_up_w, NB_PART_WHOLE, NB_MAP_SAME},
    {LAYER "mlp.fc2.weight", NB_SPEC_down_w, NB_PART_WHOLE, NB_MAP_SAME},
};

#define THETA(otherwise)                                                                 \
    {"rope_theta", NB_FACT_KEY, "rope_theta", NULL, 0},                                  \
    {"rope_theta", NB_FACT_KEY, "rope_parameters/rope_theta", NULL, 0},                  \
    {"rope_theta", NB_FACT_KEY, "rope_parameters/full_attention/rope_theta", NULL, 0},   \
    {"rope_theta", NB_FACT_IS, NULL, NULL, otherwise}
#define FACTS                                                                            \
    {"n_layer", NB_FACT_KEY, "num_hidden_layers", NULL, 0},                              \
    {"n_layer", NB_FACT_LAYERS, LAYER "self_attn.{q_proj|qkv_proj}.weight", NULL, 0},    \
    {"n_embd", NB_FACT_KEY, "hidden_size", NULL, 0},                                     \
    {"n_embd", NB_FACT_COLS, EMBEDDING, NULL, 0},                                        \
    {"n_head", NB_FACT_KEY, "num_attention_heads", NULL, 0},                             \
    {"n_kv_head", NB_FACT_KEY, "num_key_value_heads", NULL, 0},                          \
    {"head_dim", NB_FACT_KEY, "head_dim", NULL, 0},                                      \
    {"n_ff", NB_FACT_KEY, "intermediate_size", NULL, 0},                                 \
    {"n_ff", NB_FACT_ROWS, LAYER "mlp.gate_proj.weight", NULL, 0},                       \
    {"vocab_size", NB_FACT_KEY, "vocab_size", NULL, 0},                                  \
    {"vocab_size", NB_FACT_ROWS, EMBEDDING, NULL, 0},                                    \
    {"norm", NB_FACT_IS, NULL, NULL, NB_NORM_RMS},                                       \
    {"norm_eps", NB_FACT_KEY, "rms_norm_eps", NULL, 0},                                  \
    {"norm_eps", NB_FACT_IS, NULL, NULL, 1e-6}, /* what transformers takes */            \
    {"pos", NB_FACT_IS, NULL, NULL, NB_POS_ROPE},                                        \
    THETA(10000),                                                                        \
    {"out_bias", NB_FACT_HAS, LAYER "self_attn.o_proj.bias", NULL, 0},                   \
    {"mlp_bias", NB_FACT_HAS, LAYER "mlp.down_proj.bias", NULL, 0},                      \
    {"act", NB_FACT_IS, NULL, NULL, NB_ACT_SILU},                                        \
    {"glu", NB_FACT_IS, NULL, NULL, 1}

#define OPTIONAL_BIAS {"qkv_bias", NB_FACT_HAS, LAYER "self_attn.q_proj.bias", NULL, 0}
#define CONTEXT {"n_ctx", NB_FACT_KEY, "max_position_embeddings", NULL, 0}
/* A head of its own counts, whatever the configuration says: so transformers reads it from version 5 on. */
#define TIED(otherwise)                                     \
    {"tied", NB_FACT_SAME, HEAD, EMBEDDING, 0},             \
    {"tied", NB_FACT_KEY, "tie_word_embeddings", NULL, 0},  \
    {"tied", NB_FACT_IS, NULL, NULL, otherwise}

static const nb_fact llama_facts[] = {FACTS, OPTIONAL_BIAS, CONTEXT, TIED(0)};
static const nb_fact gemma_facts[] = {
    {"act", NB_FACT_IS, NULL, NULL, NB_ACT_GELU_TANH}, /* also where hidden_act says gelu, as its first files do */
    FACTS,
    OPTIONAL_BIAS,
    CONTEXT,
    TIED(1),
};
static const nb_fact olmo_facts[] = {
    {"norm", NB_FACT_IS, NULL, NULL, NB_NORM_LAYER},
    {"norm_eps", NB_FACT_IS, NULL, NULL, 1e-5},
    {"norm_weight", NB_FACT_IS, NULL, NULL, 0},
    {"clip_qkv", NB_FACT_KEY, "clip_qkv", NULL, 0},
    FACTS,
    OPTIONAL_BIAS,
    CONTEXT,
    TIED(0),
};
#define NORMS_BEHIND                                              \
    FACTS, OPTIONAL_BIAS, {"post_norm", NB_FACT_IS, NULL, NULL, 1}, \
    {"qk_norm", NB_FACT_IS, NULL, NULL, NB_QKNORM_TOGETHER},      \
    {"qk_norm_weight", NB_FACT_IS, NULL, NULL, 1}, CONTEXT, TIED(0)
static const nb_fact olmo2_facts[] = {NORMS_BEHIND};
static const nb_fact olmo3_facts[] = {THETA(500000), NORMS_BEHIND};
static const nb_fact smollm3_facts[] = {THETA(2000000), FACTS, OPTIONAL_BIAS, CONTEXT, TIED(1)};
static const nb_fact nanochat_facts[] = {
    {"norm_weight", NB_FACT_IS, NULL, NULL, 0},
    {"embed_norm", NB_FACT_IS, NULL, NULL, 1},
    {"qk_norm", NB_FACT_IS, NULL, NULL, NB_QKNORM_AFTER_ROPE},
    {"act", NB_FACT_IS, NULL, NULL, NB_ACT_RELU2},
    {"glu", NB_FACT_IS, NULL, NULL, 0},
    {"n_ff", NB_FACT_KEY, "intermediate_size", NULL, 0},
    {"n_ff", NB_FACT_ROWS, LAYER "mlp.fc1.weight", NULL, 0},
    {"softcap", NB_FACT_KEY, "final_logit_softcapping", NULL, 0},
    {"softcap", NB_FACT_NULL, "final_logit_softcapping", NULL, 0},
    {"softcap", NB_FACT_IS, NULL, NULL, 15},
    FACTS,
    OPTIONAL_BIAS,
    CONTEXT,
    TIED(0),
};
static const nb_fact qwen2_facts[] = {FACTS, {"qkv_bias", NB_FACT_IS, NULL, NULL, 1}, CONTEXT, TIED(0)};
static const nb_fact qwen3_facts[] = {
    FACTS,
    OPTIONAL_BIAS,
    {"qk_norm", NB_FACT_IS, NULL, NULL, NB_QKNORM_BEFORE_ROPE},
    {"qk_norm_weight", NB_FACT_IS, NULL, NULL, 1},
    CONTEXT,
    TIED(0),
};

#define DEMANDS                                \
    {"hidden_act", "silu"},                    \
    {"partial_rotary_factor", "1"},            \
    {"rope_parameters/partial_rotary_factor", "1"}
static const nb_demand demands[] = {DEMANDS};
static const nb_demand llama_demands[] = {DEMANDS, {"use_sliding_window", "false"}};
/* Rotary parameters are told per kind of blocks; transformers does not read those that are told without. */
static const nb_demand olmo3_demands[] = {DEMANDS, {"rope_parameters/rope_type", "null"}, {"rope_parameters/rope_theta", "null"}};
static const nb_demand nanochat_demands[] = {{"hidden_act", "relu2"}};
static const nb_demand gemma_demands[] = {
    {"hidden_activation", "gelu_pytorch_tanh"},
    {"hidden_act", "gelu|gelu_pytorch_tanh"},
};

#define ARCH(title, its_map, its_facts, its_demands, ...)       \
    {.name = title,                                             \
     .tokenizer_files = {"tokenizer.json", "tokenizer.model"},  \
     NB_ARCH_TABLES(its_map, its_facts),                        \
     .demands = its_demands,                                    \
     .n_demands = sizeof(its_demands) / sizeof *(its_demands),  \
     __VA_ARGS__}
#define FORWARDS .chat_style = "plain", .rope_sign = 1
const nb_arch nb_arch_llama = ARCH("llama", map, llama_facts, llama_demands, FORWARDS);
const nb_arch nb_arch_mistral = ARCH("mistral", map, llama_facts, demands, FORWARDS, .windows = NB_WINDOWS_SLIDING);
const nb_arch nb_arch_qwen2 = ARCH("qwen2", map, qwen2_facts, demands, FORWARDS, .windows = NB_WINDOWS_ASKED);
const nb_arch nb_arch_qwen3 = ARCH("qwen3", map, qwen3_facts, demands, FORWARDS, .windows = NB_WINDOWS_ASKED);
const nb_arch nb_arch_phi3 = ARCH("phi3", map, llama_facts, demands, FORWARDS, .windows = NB_WINDOWS_SLIDING);
const nb_arch nb_arch_gemma = ARCH("gemma", map, gemma_facts, gemma_demands, FORWARDS, .norm_offset = 1, .embed_gain = true);
const nb_arch nb_arch_olmo = ARCH("olmo", map, olmo_facts, demands, FORWARDS);
const nb_arch nb_arch_olmo2 = ARCH("olmo2", olmo2_map, olmo2_facts, demands, FORWARDS);
const nb_arch nb_arch_olmo3 = ARCH("olmo3", olmo2_map, olmo3_facts, olmo3_demands, FORWARDS, .windows = NB_WINDOWS_NAMED,
                                   .rope = NB_ROPE_TYPED);
const nb_arch nb_arch_smollm3 = ARCH("smollm3", map, smollm3_facts, demands, FORWARDS, .windows = NB_WINDOWS_ASKED_NAMED,
                                     .rope = NB_ROPE_SOME);
const nb_arch nb_arch_nanochat_hf = ARCH("nanochat-hf", nanochat_map, nanochat_facts, nanochat_demands, .architecture = "nanochat",
                                         .chat_style = "nanochat", .rope_sign = -1);
