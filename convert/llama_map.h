/* What Llama is in the words of Meta's own code, which its descendants keep with other names around: rows of an
 * architecture map and of its facts. Rows of wq and wk are pairs of neighbours that are rotated together. */
#ifndef NB_CONVERT_LLAMA_MAP_H
#define NB_CONVERT_LLAMA_MAP_H

/* LAYER and FFN stand before the names of a block's tensors and of its MLP's. */
#define NB_LLAMA_BLOCK_MAP(LAYER, FFN)                                                     \
    {LAYER "attention_norm.weight", NB_SPEC_attn_norm_w, NB_PART_WHOLE, NB_MAP_SAME},      \
    {LAYER "attention.wq.weight", NB_SPEC_qkv_w, NB_PART_Q, NB_MAP_PAIRS},                 \
    {LAYER "attention.wk.weight", NB_SPEC_qkv_w, NB_PART_K, NB_MAP_PAIRS},                 \
    {LAYER "attention.wv.weight", NB_SPEC_qkv_w, NB_PART_V, NB_MAP_SAME},                  \
    {LAYER "attention.wo.weight", NB_SPEC_out_w, NB_PART_WHOLE, NB_MAP_SAME},              \
    {LAYER "ffn_norm.weight", NB_SPEC_mlp_norm_w, NB_PART_WHOLE, NB_MAP_SAME},             \
    {LAYER FFN ".w1.weight", NB_SPEC_up_w, NB_PART_GATE, NB_MAP_SAME},                     \
    {LAYER FFN ".w3.weight", NB_SPEC_up_w, NB_PART_UP, NB_MAP_SAME},                       \
    {LAYER FFN ".w2.weight", NB_SPEC_down_w, NB_PART_WHOLE, NB_MAP_SAME}

/* EPS and the base where nothing says another; the head is the embedding when it is absent or the same. */
#define NB_LLAMA_FACTS(EPS, HEAD, EMBEDDING)                  \
    {"norm", NB_FACT_IS, NULL, NULL, NB_NORM_RMS},            \
    {"norm_eps", NB_FACT_KEY, "norm_eps", NULL, 0},           \
    {"norm_eps", NB_FACT_IS, NULL, NULL, EPS},                \
    {"pos", NB_FACT_IS, NULL, NULL, NB_POS_ROPE},             \
    {"rope_theta", NB_FACT_KEY, "rope_theta", NULL, 0},       \
    {"rope_theta", NB_FACT_IS, NULL, NULL, 10000},            \
    {"act", NB_FACT_IS, NULL, NULL, NB_ACT_SILU},             \
    {"glu", NB_FACT_IS, NULL, NULL, 1},                       \
    {"tied", NB_FACT_SAME, HEAD, EMBEDDING, 0},               \
    {"tied", NB_FACT_IS, NULL, NULL, 1}

#endif
