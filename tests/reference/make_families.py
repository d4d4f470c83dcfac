"""Writes tests/models/families: a tiny random model of every family in the form that the real library writes, and what the
library computes for it.

    python make_families.py [NAME ...]        with torch, transformers, safetensors and gguf

The tutorial's GPTs are written here: no library defines them. nanochat's generations are in nanochat_eras.py.

A folder holds the checkpoint and golden.json: `sources` are what to convert (all are the same model), with the settings in `set`; `prompts` have the form of the
other goldens. Weights are rounded to what is stored before anything is computed; logits are computed in f64 where the library
lets us.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    NanoChatConfig,
    NanoChatForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    Olmo3Config,
    Olmo3ForCausalLM,
    OlmoConfig,
    OlmoForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

import peft

from nanochat_eras import ERAS, NanoChat

VOCAB, CONTEXT = 48, 512
LENGTHS = (1, 17, 300)
GREEDY = 32

BASE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "vocab_size": VOCAB, "max_position_embeddings": CONTEXT, "initializer_range": 0.2, "tie_word_embeddings": False,
    "bos_token_id": 1, "eos_token_id": 2,
}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 500000.0,
          "original_max_position_embeddings": 64}
LONGROPE = {
    **BASE, "pad_token_id": 0, "sliding_window": 2**18, "max_position_embeddings": 4096, "original_max_position_embeddings": 512,
    "rope_parameters": {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0, 1.25, 1.5, 2.0],
                        "long_factor": [1.0, 2.0, 4.0, 8.0]}}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "rope_theta": 10000.0}


def smollm3(**more):
    return SmolLM3ForCausalLM(SmolLM3Config(**{**BASE, "num_hidden_layers": 4, "tie_word_embeddings": True, "pad_token_id": 0,
                                               "rope_parameters": YARN, **more}))


def olmo3(theta=500000.0):
    return Olmo3ForCausalLM(Olmo3Config(**{**BASE, "num_hidden_layers": 4, "sliding_window": 70, "pad_token_id": 0,
                                           "rope_scaling": {**YARN, "rope_theta": theta}}))


def llama(**more):
    return LlamaForCausalLM(LlamaConfig(**{**BASE, **more}))


def gpt2():
    return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=320, vocab_size=VOCAB, initializer_range=0.2,
                                      bos_token_id=1, eos_token_id=2))


MODELS = {  # the place in this list is the seed: new ones come last
    "hf-llama3": (lambda: llama(rope_parameters=LLAMA3), torch.bfloat16),
    "hf-llama-yarn": (lambda: llama(rope_parameters=YARN), torch.float16),
    "hf-llama-biases": (lambda: llama(attention_bias=True, mlp_bias=True, head_dim=16), torch.float32),
    "hf-smollm2": (lambda: llama(tie_word_embeddings=True, num_attention_heads=3, num_key_value_heads=1, hidden_size=48,
                                 rms_norm_eps=1e-5), torch.bfloat16),
    "hf-mistral": (lambda: MistralForCausalLM(MistralConfig(**{**BASE, "sliding_window": None, "head_dim": 8})), torch.bfloat16),
    "hf-qwen2": (lambda: Qwen2ForCausalLM(Qwen2Config(**BASE)), torch.bfloat16),
    "hf-qwen3": (lambda: Qwen3ForCausalLM(Qwen3Config(**{**BASE, "head_dim": 16, "tie_word_embeddings": True})), torch.bfloat16),
    "hf-gpt2": (gpt2, torch.float16),
    "gguf-llama": (lambda: llama(rope_parameters=LLAMA3), torch.float32),
    "gguf-llama-split": (lambda: llama(tie_word_embeddings=True), torch.float16),
    "gguf-llama-quantized": (lambda: llama(), torch.float32),
    "gguf-qwen2": (lambda: Qwen2ForCausalLM(Qwen2Config(**BASE)), torch.float16),
    "gguf-qwen3": (lambda: Qwen3ForCausalLM(Qwen3Config(**{**BASE, "head_dim": 16, "tie_word_embeddings": True})), torch.bfloat16),
    "gguf-gpt2": (gpt2, torch.float16),
    "tutorial-learned": (lambda: TutorialGPT(*TUTORIALS["tutorial-learned"]), torch.float32),
    "tutorial-rope": (lambda: TutorialGPT(*TUTORIALS["tutorial-rope"]), torch.float32),
    "hf-phi3": (lambda: Phi3ForCausalLM(Phi3Config(**{**BASE, "pad_token_id": 0, "sliding_window": None})), torch.bfloat16),
    "hf-phi3-longrope": (lambda: Phi3ForCausalLM(Phi3Config(**LONGROPE)), torch.bfloat16),
    "hf-gemma": (lambda: GemmaForCausalLM(GemmaConfig(**{**BASE, "head_dim": 16, "num_key_value_heads": 1,
                                                         "tie_word_embeddings": True})), torch.bfloat16),
    **{f"nanochat-{era}": (lambda era=era: NanoChat(era, VOCAB, CONTEXT), torch.bfloat16) for era in ERAS},
    "hf-nanochat": (lambda: NanoChatForCausalLM(NanoChatConfig(**{**BASE, "hidden_act": "relu2"})), torch.bfloat16),
    "hf-olmo": (lambda: OlmoForCausalLM(OlmoConfig(**{**BASE, "clip_qkv": 0.75, "tie_word_embeddings": True})), torch.bfloat16),
    "hf-olmo2": (lambda: Olmo2ForCausalLM(Olmo2Config(**BASE)), torch.bfloat16),
    "hf-mistral-window": (lambda: MistralForCausalLM(MistralConfig(**{**BASE, "sliding_window": 70})), torch.bfloat16),
    "hf-qwen2-window": (lambda: Qwen2ForCausalLM(Qwen2Config(**{**BASE, "use_sliding_window": True, "sliding_window": 16,
                                                                "max_window_layers": 1})), torch.bfloat16),
    "gguf-phi3": (lambda: Phi3ForCausalLM(Phi3Config(**{**LONGROPE, "sliding_window": 100})), torch.bfloat16),
    "gguf-gemma": (lambda: GemmaForCausalLM(GemmaConfig(**{**BASE, "head_dim": 16, "num_key_value_heads": 1,
                                                           "tie_word_embeddings": True})), torch.bfloat16),
    "gguf-olmo": (lambda: OlmoForCausalLM(OlmoConfig(**{**BASE, "clip_qkv": 0.75, "tie_word_embeddings": True})), torch.bfloat16),
    "gguf-olmo2": (lambda: Olmo2ForCausalLM(Olmo2Config(**BASE)), torch.bfloat16),
    "lora-llama": (lambda: llama(), torch.bfloat16),
    "lora-gpt2": (gpt2, torch.float16),
    "hf-olmo3": (lambda: Olmo3ForCausalLM(Olmo3Config(**{**BASE, "sliding_window": 70, "layer_types": [
        "sliding_attention", "full_attention"]})), torch.bfloat16),
    "hf-smollm3": (lambda: smollm3(use_sliding_window=True, sliding_window=70), torch.bfloat16),
    "hf-olmo3-yarn": (lambda: olmo3(5000.0), torch.bfloat16),
    "lora-patterns": (lambda: llama(), torch.bfloat16),
    "gguf-smollm3": (smollm3, torch.bfloat16),
    "gguf-olmo3": (olmo3, torch.bfloat16),
}


class TutorialGPT(nn.Module):
    """What tutorials write: LayerNorms, GELU, fused or split projections, learned or rotary positions, tied or not."""

    def __init__(self, n_head: int, rope: bool, fused: bool, tied: bool, names: dict[str, str], n: int = 32, layers: int = 2):
        super().__init__()
        self.n_head, self.rope, self.fused, self.names = n_head, rope, fused, names
        self.config = type("config", (), {"model_type": "tutorial"})
        self.add_module(names["embed"], nn.Embedding(VOCAB, n))
        if not rope:
            self.add_module(names["pos"], nn.Embedding(320, n))
        self.add_module(names["blocks"], nn.ModuleList(self.block(n) for _ in range(layers)))
        self.add_module(names["norm"], nn.LayerNorm(n))
        self.add_module(names["head"], nn.Linear(n, VOCAB, bias=False))
        for p in self.parameters():
            nn.init.normal_(p, std=0.2) if p.dim() == 2 else None
        if tied:
            self.part("head").weight = self.part("embed").weight

    def part(self, name: str):
        return getattr(self, self.names[name])

    def block(self, n: int) -> nn.Module:
        names, attn = self.names, nn.Module()
        for name in [names["qkv"]] if self.fused else names["qkv"].split():
            attn.add_module(name, nn.Linear(n, 3 * n if self.fused else n, bias=self.fused))
        attn.add_module(names["out"], nn.Linear(n, n))
        block = nn.Module()
        block.add_module(names["norm1"], nn.LayerNorm(n))
        block.add_module(names["attn"], attn)
        block.add_module(names["norm2"], nn.LayerNorm(n))
        if names["up"] == "0":
            block.add_module(names["mlp"], nn.Sequential(nn.Linear(n, 4 * n), nn.GELU(), nn.Linear(4 * n, n)))
        else:
            mlp = nn.Module()
            mlp.add_module(names["up"], nn.Linear(n, 4 * n))
            mlp.add_module(names["down"], nn.Linear(4 * n, n))
            block.add_module(names["mlp"], mlp)
        return block

    def rotate(self, x):
        T, D = x.shape[-2:]
        angle = torch.arange(T)[:, None] * 10000.0 ** (-torch.arange(0, D, 2).double() / D)
        cos, sin = torch.cat((angle, angle), -1).cos().to(x), torch.cat((angle, angle), -1).sin().to(x)
        return x * cos + torch.cat((-x[..., D // 2 :], x[..., : D // 2]), -1) * sin

    def attend(self, attn, x):
        B, T, N = x.shape
        if self.fused:
            q, k, v = getattr(attn, self.names["qkv"])(x).chunk(3, -1)
        else:
            q, k, v = (getattr(attn, name)(x) for name in self.names["qkv"].split())
        q, k, v = (y.view(B, T, self.n_head, N // self.n_head).transpose(1, 2) for y in (q, k, v))
        if self.rope:
            q, k = self.rotate(q), self.rotate(k)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return getattr(attn, self.names["out"])(y.transpose(1, 2).reshape(B, T, N))

    def forward(self, ids):
        x = self.part("embed")(ids)
        if not self.rope:
            x = x + self.part("pos")(torch.arange(ids.size(1)))
        for block in self.part("blocks"):
            x = x + self.attend(getattr(block, self.names["attn"]), getattr(block, self.names["norm1"])(x))
            y, mlp = getattr(block, self.names["norm2"])(x), getattr(block, self.names["mlp"])
            x = x + (mlp(y) if self.names["up"] == "0"
                     else getattr(mlp, self.names["down"])(F.gelu(getattr(mlp, self.names["up"])(y))))
        return type("output", (), {"logits": self.part("head")(self.part("norm")(x))})


TUTORIALS = {
    "tutorial-learned": (4, False, True, True, {
        "embed": "tok_emb", "pos": "pos_emb", "blocks": "blocks", "norm1": "ln1", "attn": "attn", "qkv": "qkv", "out": "proj",
        "norm2": "ln2", "mlp": "mlp", "up": "0", "down": "2", "norm": "ln_f", "head": "head"}),
    "tutorial-rope": (2, True, False, False, {
        "embed": "token_embedding", "blocks": "layers", "norm1": "norm1", "attn": "attention", "qkv": "q_proj k_proj v_proj",
        "out": "out_proj", "norm2": "norm2", "mlp": "ffn", "up": "fc1", "down": "fc2", "norm": "norm", "head": "lm_head"}),
}


def save_tutorial(model, folder: Path) -> list[str]:
    torch.save(model.state_dict(), folder / "model.pt")
    with open(folder / "config.json", "w") as f:
        json.dump({"n_head": model.n_head} | ({"block_size": CONTEXT} if model.rope else {}), f)
    return ["."]


def stir(model: torch.nn.Module) -> None:
    """Biases and norms that differ from their 0 and 1, so that a forgotten one shows."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.add_(torch.randn_like(p) * 0.2)


def write_golden(model, folder: Path, sources: list[str], seed: int) -> None:
    model = model.double().eval()
    rng = np.random.default_rng(seed)
    prompts = []
    for i, n in enumerate(LENGTHS):
        ids = rng.integers(0, VOCAB, n).tolist()
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
        positions = sorted({0, n // 2, n - 1})
        logits[positions].float().numpy().astype("<f4").tofile(folder / f"golden_p{i}.f32")
        ce = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="none").tolist() if n > 1 else []
        greedy, margins, text = [], [], list(ids)
        for _ in range(GREEDY if n + GREEDY <= 320 else 20):
            with torch.no_grad():
                row = model(torch.tensor([text])).logits[0, -1]
            best = row.topk(2).values
            greedy.append(int(row.argmax()))
            margins.append(round(float(best[0] - best[1]), 6))
            text.append(greedy[-1])
        prompts.append({"ids": ids, "positions": positions, "logits_file": f"golden_p{i}.f32", "ce": [round(c, 6) for c in ce],
                        "greedy": greedy, "greedy_margin": margins})
    with open(folder / "golden.json", "w") as f:
        loras = {"lora": model.adapters} if getattr(model, "adapters", None) else {}
        setting = {"set": model.settings} if getattr(model, "settings", None) else {}
        f.write(json.dumps({"sources": sources} | setting | loras | {"prompts": prompts}).replace('{"ids"', '\n {"ids"') + "\n")


# ---------------------------------------------------------------- Hugging Face


def save_hf(model, folder: Path, dtype: torch.dtype) -> list[str]:
    model = copy.deepcopy(model).to(dtype)  # the rotary frequencies of the original stay exact
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    sources = ["."]
    if folder.name == "hf-llama3":  # the same in shards, and as torch saves it
        model.save_pretrained(folder / "shards", max_shard_size="16KB")
        (folder / "shards" / "generation_config.json").unlink(missing_ok=True)
        (folder / "torch").mkdir()
        shutil.copy(folder / "config.json", folder / "torch")
        state = model.state_dict()
        torch.save(state, folder / "torch" / "pytorch_model.bin")
        (folder / "torch-shards").mkdir()
        shutil.copy(folder / "config.json", folder / "torch-shards")
        names = [f"pytorch_model-{i + 1:05}-of-00002.bin" for i in range(2)]
        where = {name: names[i % 2] for i, name in enumerate(state)}
        for file in names:
            torch.save({n: t for n, t in state.items() if where[n] == file}, folder / "torch-shards" / file)
        with open(folder / "torch-shards" / "pytorch_model.bin.index.json", "w") as f:
            json.dump({"metadata": {}, "weight_map": where}, f)
        sources += ["shards", "torch", "torch-shards"]
    return sources


# ---------------------------------------------------------------- adapters

ADAPTERS = {  # settings of each, and what it is multiplied by
    "lora-llama": [
        ({"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "o_proj", "down_proj", "embed_tokens"],
          "rank_pattern": {"layers.0.mlp.down_proj": 2}, "alpha_pattern": {"o_proj": 16}, "modules_to_save": ["lm_head"]}, 1.0),
        ({"r": 3, "lora_alpha": 4, "target_modules": ["q_proj", "gate_proj"], "use_rslora": True}, 0.5)],
    "lora-patterns": [
        ({"r": 4, "lora_alpha": 8, "target_modules": r"model\.layers\.\d+\.(self_attn\.[qk]_proj|mlp\.(up|down)_proj)",
          "rank_pattern": {r"self_attn": 7, r"[qk]_proj": 2, r"layers\.1\.mlp\..*": 3, "up.proj": 5},
          "alpha_pattern": {r"^model\.layers\.0\..*_proj": 12, r"layers.1.(mlp|self_attn).(up_proj|q_proj)": 2}}, 1.0)],
    "lora-gpt2": [
        ({"r": 4, "lora_alpha": 6, "target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True, "bias": "lora_only"}, 1.0)],
}


def save_lora(model, folder: Path, dtype: torch.dtype) -> list[str]:
    """The model and its adapters; afterwards the model computes with all of them."""
    sources = save_hf(model, folder, dtype)
    model.adapters = [scale for _, scale in ADAPTERS[folder.name]]
    for i, (settings, scale) in enumerate(ADAPTERS[folder.name]):
        wrapped = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings))
        with torch.no_grad():
            for name, p in wrapped.named_parameters():
                if p.requires_grad:
                    p.add_(torch.randn_like(p) * 0.1)
        wrapped.save_pretrained(folder / f"adapter{i}", save_embedding_layers=False)
        (folder / f"adapter{i}" / "README.md").unlink(missing_ok=True)
        for module in wrapped.modules():
            if isinstance(getattr(module, "scaling", None), dict):
                module.scaling = {name: value * scale for name, value in module.scaling.items()}
        wrapped.merge_and_unload() if i + 1 < len(model.adapters) else None
    return sources


# ---------------------------------------------------------------- GGUF

LLAMA_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up",
}
OLMO2_NAMES = {**LLAMA_NAMES, "post_attention_layernorm": "post_attention_norm", "post_feedforward_layernorm": "post_ffw_norm"}
GPT2_NAMES = {
    "transformer.wte": "token_embd", "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm", "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}
KINDS = [gguf.GGMLQuantizationType[k] for k in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "F16", "BF16")]


def gguf_name(name: str, arch: str) -> str:
    stem, kind = name.rsplit(".", 1)
    names = {"gpt2": GPT2_NAMES, "olmo2": OLMO2_NAMES}.get(arch, LLAMA_NAMES)
    if stem in names:
        return f"{names[stem]}.{kind}"
    _, _, layer, rest = stem.replace("transformer.h.", "model.layers.").split(".", 3)
    return f"blk.{layer}.{names[rest]}.{kind}"


def interleave(weights: np.ndarray, heads: int) -> np.ndarray:
    """Rows of halves become pairs, as llama.cpp's converter does for llama."""
    shape = weights.shape
    return weights.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def store(writer, name: str, weights: np.ndarray, kind) -> np.ndarray:
    """Add a tensor; what its stored form means."""
    if weights.ndim == 1 or kind == gguf.GGMLQuantizationType.F32:
        writer.add_tensor(name, weights)
        return weights
    data = gguf.quants.quantize(weights, kind)
    writer.add_tensor(name, data, raw_dtype=kind)
    return gguf.quants.dequantize(data, kind)


def gguf_metadata(writer, config, arch: str) -> None:
    writer.add_name("a model of random numbers")
    if arch == "gpt2":
        writer.add_context_length(config.n_positions)
        writer.add_embedding_length(config.n_embd)
        writer.add_block_count(config.n_layer)
        writer.add_feed_forward_length(4 * config.n_embd)
        writer.add_head_count(config.n_head)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    if arch == "olmo":
        writer.add_layer_norm_eps(1e-5)
        writer.add_clamp_kqv(config.clip_qkv)
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if arch == "phi3":
        writer.add_sliding_window(config.sliding_window)
        writer.add_rope_scaling_orig_ctx_len(config.original_max_position_embeddings)
        stretch = config.max_position_embeddings / config.original_max_position_embeddings
        writer.add_rope_scaling_attn_factors(np.sqrt(1 + np.log(stretch) / np.log(config.original_max_position_embeddings)))
    if config.model_type == "olmo3":
        writer.add_sliding_window(config.sliding_window)
    rope = config.rope_parameters.get("full_attention", config.rope_parameters)
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if arch in ("qwen3", "gemma"):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if arch == "llama":  # a SentencePiece vocabulary
        tokens = ["<unk>", "<s>", "</s>", *(chr(ord("a") + i) for i in range(26)), "\u2581", *(f"\u2581{c}" for c in "abcdefghijklmnopqr")]
        writer.add_tokenizer_model("llama")
        writer.add_token_list(tokens)
        writer.add_token_scores([-float(i) for i in range(len(tokens))])
        writer.add_token_types([2, 3, 3, *[1] * (len(tokens) - 3)])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
    # keys of every type, which nobody asks for
    writer.add_uint8("test.u8", 200)
    writer.add_int8("test.i8", -3)
    writer.add_uint16("test.u16", 60000)
    writer.add_int16("test.i16", -300)
    writer.add_uint64("test.u64", 2**63 + 5)
    writer.add_int64("test.i64", -(2**40))
    writer.add_float64("test.f64", 0.1)
    writer.add_bool("test.bool", True)
    writer.add_array("test.texts", ["one", "", "\u4e09"])
    writer.add_array("test.floats", [0.5, -2.0])
    writer.add_array("test.ints", [1, -2, 3])


def save_gguf(model, folder: Path, dtype: torch.dtype) -> list[str]:
    arch = {"olmo3": "olmo2"}.get(model.config.model_type, model.config.model_type)  # llama.cpp's name of both
    kinds = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
    split = folder.name.endswith("split")
    file = folder / "model.gguf"
    writer = gguf.GGUFWriter(file, arch, split_max_tensors=7 if split else 0)
    gguf_metadata(writer, model.config, arch)
    state = model.state_dict()
    at = 0
    for name, tensor in state.items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        kind = gguf.GGMLQuantizationType[kinds[dtype]]
        if folder.name.endswith("quantized") and tensor.dim() == 2:
            kind = KINDS[at % len(KINDS)]
            at += 1
        weights = tensor.float().numpy()
        if arch == "gpt2" and ".c_" in name and weights.ndim == 2:
            weights = weights.T.copy()
        rotated = arch in ("llama", "olmo", "smollm3") and (".q_proj." in name or ".k_proj." in name)
        heads = model.config.num_key_value_heads if ".k_proj." in name else model.config.num_attention_heads
        offset = 1 if arch == "gemma" and weights.ndim == 1 else 0
        means = store(writer, gguf_name(name, arch), (interleave(weights, heads) if rotated else weights) + offset, kind) - offset
        if rotated:  # back to halves
            means = means.reshape(heads, means.shape[0] // heads // 2, 2, *means.shape[1:]).swapaxes(1, 2).reshape(means.shape)
        if arch == "gpt2" and ".c_" in name and means.ndim == 2:
            means = means.T.copy()
        state[name].copy_(torch.from_numpy(np.ascontiguousarray(means)))
    if arch == "llama" and model.config.rope_parameters["rope_type"] == "llama3":
        plain = 500000.0 ** (-np.arange(0, 8, 2) / 8)
        writer.add_tensor("rope_freqs.weight", (plain / model.model.rotary_emb.inv_freq.numpy()).astype(np.float32))
    if arch == "phi3":
        for length in ("long", "short"):
            writer.add_tensor(f"rope_factors_{length}.weight", np.array(model.config.rope_parameters[f"{length}_factor"], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(p.name for p in folder.glob("*.gguf")) if split else ["model.gguf", "."]


def make(name: str, folder: Path, seed: int) -> None:
    build, dtype = MODELS[name]
    torch.manual_seed(seed)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = build()
    stir(model)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(dtype).to(p.dtype))
    save = {"gguf": save_gguf, "hf": save_hf, "tutorial": lambda model, folder, dtype: save_tutorial(model, folder),
            "lora": save_lora, "nanochat": lambda model, folder, dtype: model.save(folder)}
    sources = save[name.split("-")[0]](model, folder, dtype)
    write_golden(model, folder, sources, seed)


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("names", nargs="*", default=list(MODELS))
    args.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "models" / "families")
    options = args.parse_args()
    torch.set_num_threads(1)
    for seed, name in enumerate(MODELS):
        if name in options.names:
            make(name, options.out / name, seed + 1)


if __name__ == "__main__":
    main()
