/* GPT-2 as Hugging Face keeps it: projections are stored transposed (Conv1D), names with and without "transformer.". */
#include "convert/arch.h"
#include "convert/gpt2_map.h"

#define TOP "{transformer.|}"
#define LAYER TOP "h.%u."
static const nb_map_row map[] = {NB_GPT2_MAP(TOP, NB_MAP_TRANSPOSE, NB_MAP_TIED)};

static const nb_fact facts[] = {
    {"n_layer", NB_FACT_KEY, "n_layer", NULL, 0},
    {"n_layer", NB_FACT_LAYERS, LAYER "attn.c_attn.weight", NULL, 0},
    {"n_embd", NB_FACT_KEY, "n_embd", NULL, 0},
    {"n_embd", NB_FACT_COLS, TOP "wte.weight", NULL, 0},
    {"n_head", NB_FACT_KEY, "n_head", NULL, 0},
    {"n_ctx", NB_FACT_KEY, "n_positions", NULL, 0},
    {"n_ctx", NB_FACT_ROWS, TOP "wpe.weight", NULL, 0},
    {"vocab_size", NB_FACT_KEY, "vocab_size", NULL, 0},
    {"vocab_size", NB_FACT_ROWS, TOP "wte.weight", NULL, 0},
    {"n_ff", NB_FACT_COLS, LAYER "mlp.c_fc.weight", NULL, 0},
    {"norm", NB_FACT_IS, NULL, NULL, NB_NORM_LAYER},
    {"norm_eps", NB_FACT_KEY, "layer_norm_epsilon", NULL, 0},
    {"norm_eps", NB_FACT_IS, NULL, NULL, 1e-5},
    {"norm_bias", NB_FACT_IS, NULL, NULL, 1},
    {"pos", NB_FACT_IS, NULL, NULL, NB_POS_LEARNED},
    {"qkv_bias", NB_FACT_IS, NULL, NULL, 1},
    {"out_bias", NB_FACT_IS, NULL, NULL, 1},
    {"mlp_bias", NB_FACT_IS, NULL, NULL, 1},
    {"act", NB_FACT_NAME, "activation_function", "gelu", NB_ACT_GELU_ERF},
    {"act", NB_FACT_IS, NULL, NULL, NB_ACT_GELU_TANH},
    {"tied", NB_FACT_SAME, "lm_head.weight", TOP "wte.weight", 0}, /* as in arch_hf_llama.c */
    {"tied", NB_FACT_KEY, "tie_word_embeddings", NULL, 0},
    {"tied", NB_FACT_IS, NULL, NULL, 1},
};

static const nb_demand demands[] = {
    {"activation_function", "gelu_new|gelu_pytorch_tanh|gelu"},
    {"scale_attn_weights", "true"},
    {"scale_attn_by_inverse_layer_idx", "false"},
    {"add_cross_attention", "false"},
};

const nb_arch nb_arch_gpt2 = {
    .name = "gpt2",
    .chat_style = "plain",
    .tokenizer_files = {"tokenizer.json", "vocab.json"},
    NB_ARCH_TABLES(map, facts),
    .demands = demands,
    .n_demands = sizeof demands / sizeof *demands,
    .rope_sign = 1,
};
