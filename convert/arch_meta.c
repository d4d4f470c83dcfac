/* Llama with the names of Meta's own code, which llama2.c and many tutorials (Happy-LLM) keep. Configurations are
 * params.json, llama2.c's model_args, or a header of its .bin. */
#include "convert/arch.h"
#include "convert/llama_map.h"

#define LAYER "layers.%u."
static const nb_map_row map[] = {
    {"tok_embeddings.weight", NB_SPEC_embed, NB_PART_WHOLE, NB_MAP_SAME},
    {"norm.weight", NB_SPEC_norm_w, NB_PART_WHOLE, NB_MAP_SAME},
    {"output.weight", NB_SPEC_head, NB_PART_WHOLE, NB_MAP_TIED},
    NB_LLAMA_BLOCK_MAP(LAYER, "feed_forward"),
    {LAYER "attention.mask", 0, 0, NB_MAP_IGNORE},
    {LAYER "attention.inner_attention.rope.freqs", 0, 0, NB_MAP_IGNORE},
    {"rope.freqs", 0, 0, NB_MAP_IGNORE}, /* tables that are computed */
    {"freqs_cos", 0, 0, NB_MAP_IGNORE},
    {"freqs_sin", 0, 0, NB_MAP_IGNORE},
};

static const nb_fact facts[] = {
    {"n_layer", NB_FACT_KEY, "n_layers", NULL, 0},
    {"n_layer", NB_FACT_LAYERS, LAYER "attention.wq.weight", NULL, 0},
    {"n_embd", NB_FACT_COLS, "tok_embeddings.weight", NULL, 0},
    {"n_head", NB_FACT_KEY, "n_heads", NULL, 0},
    {"n_kv_head", NB_FACT_KEY, "n_kv_heads", NULL, 0},
    {"head_dim", NB_FACT_KEY, "head_dim", NULL, 0},
    {"n_ff", NB_FACT_ROWS, "layers.0.feed_forward.w1.weight", NULL, 0},
    {"vocab_size", NB_FACT_ROWS, "tok_embeddings.weight", NULL, 0}, /* params.json may say -1 */
    {"n_ctx", NB_FACT_KEY, "max_seq_len", NULL, 0},
    {"n_ctx", NB_FACT_COLS, "layers.0.attention.mask", NULL, 0},
    {"n_ctx", NB_FACT_IS, NULL, NULL, 4096}, /* Llama 2's; Meta stores none */
    NB_LLAMA_FACTS(1e-5, "output.weight", "tok_embeddings.weight"),
};

const nb_arch nb_arch_meta = {
    .name = "llama-meta",
    .architecture = "llama",
    .chat_style = "plain",
    .tokenizer_files = {"tokenizer.model", "tokenizer.bin"},
    NB_ARCH_TABLES(map, facts),
    .rope_sign = 1,
};
