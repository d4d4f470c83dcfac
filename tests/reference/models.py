"""The three demo architectures in plain PyTorch, with upstream's tensor names.

Shapes: B batch, T time, N n_embd, H n_head, G n_kv_head, D = N / H head size, V vocabulary.
Every model maps ids [B, T] to logits [B, T, V]; there is no KV cache and no dropout.

Sources of the formulas:
  NanoChat  github.com/karpathy/nanochat, nanochat/gpt.py as of November 2025 (MIT)
  NanoGPT   github.com/karpathy/nanoGPT, model.py (MIT)
  MiniGPT   the character-level Chinese tutorial model: fused qkv with bias, the other projections without
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORE = -1  # a target that carries no loss


def next_token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats of logits [B, T, V] against targets [B, T], skipping IGNORE."""
    return F.cross_entropy(logits.reshape(-1, logits.size(-1)), targets.reshape(-1), ignore_index=IGNORE)


def rms_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean(x^2) + eps) over the last dimension; no weights, eps = 2^-23 (torch's f32 default)."""
    return F.rms_norm(x, (x.size(-1),), eps=2.0**-23)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(D) + mask) v over [B, H, T, D]; the mask is causal unless given."""
    T = q.size(2)
    if mask is None:
        mask = torch.full((T, T), -torch.inf).triu(1)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.size(-1))
    return (scores + mask).softmax(-1) @ v


# ---------------------------------------------------------------- nanochat, November 2025


@dataclass
class NanoChatConfig:
    sequence_len: int = 512
    vocab_size: int = 1024
    n_layer: int = 4
    n_head: int = 4
    n_kv_head: int = 2
    n_embd: int = 192


def rope_tables(length: int, head_dim: int, base: float = 10000.0) -> tuple[Tensor, Tensor]:
    """cos and sin [T, D/2] of t * base^(-2i/D), rounded to bf16 as nanochat stores them, widened again."""
    inv_freq = 1.0 / (base ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim))
    angle = torch.outer(torch.arange(length, dtype=torch.float32), inv_freq)
    return angle.cos().bfloat16().float(), angle.sin().bfloat16().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Half-split rotation of x [B, heads, T, D] by the negated angle: (a cos + b sin, b cos - a sin)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1).to(x.dtype)


class NanoChatAttention(nn.Module):
    """Grouped-query attention: RoPE, then RMS norm of q and k per head, scores / sqrt(D)."""

    def __init__(self, c: NanoChatConfig):
        super().__init__()
        self.n_head, self.n_kv_head, self.head_dim = c.n_head, c.n_kv_head, c.n_embd // c.n_head
        self.c_q = nn.Linear(c.n_embd, c.n_head * self.head_dim, bias=False)
        self.c_k = nn.Linear(c.n_embd, c.n_kv_head * self.head_dim, bias=False)
        self.c_v = nn.Linear(c.n_embd, c.n_kv_head * self.head_dim, bias=False)
        self.c_proj = nn.Linear(c.n_embd, c.n_embd, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        B, T, N = x.shape
        q = self.c_q(x).view(B, T, self.n_head, self.head_dim).transpose(1, 2)
        k = self.c_k(x).view(B, T, self.n_kv_head, self.head_dim).transpose(1, 2)
        v = self.c_v(x).view(B, T, self.n_kv_head, self.head_dim).transpose(1, 2)
        q, k = rms_norm(rotate(q, cos, sin)), rms_norm(rotate(k, cos, sin))
        group = self.n_head // self.n_kv_head  # query head h reads KV head h / group
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        y = attend(q, k, v, mask)
        return self.c_proj(y.transpose(1, 2).reshape(B, T, N))


class NanoChatMLP(nn.Module):
    """c_proj(relu(c_fc(x))^2), hidden size 4N."""

    def __init__(self, c: NanoChatConfig):
        super().__init__()
        self.c_fc = nn.Linear(c.n_embd, 4 * c.n_embd, bias=False)
        self.c_proj = nn.Linear(4 * c.n_embd, c.n_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.relu(self.c_fc(x)).square())


class NanoChatBlock(nn.Module):
    def __init__(self, c: NanoChatConfig):
        super().__init__()
        self.attn, self.mlp = NanoChatAttention(c), NanoChatMLP(c)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attn(rms_norm(x), cos, sin, mask)
        return x + self.mlp(rms_norm(x))


class NanoChat(nn.Module):
    """RMS norm after the embedding, untied head, logits 15 tanh(x / 15)."""

    def __init__(self, c: NanoChatConfig):
        super().__init__()
        self.config, self.context = c, c.sequence_len
        self.transformer = nn.ModuleDict(
            {"wte": nn.Embedding(c.vocab_size, c.n_embd), "h": nn.ModuleList(NanoChatBlock(c) for _ in range(c.n_layer))}
        )
        self.lm_head = nn.Linear(c.n_embd, c.vocab_size, bias=False)
        cos, sin = rope_tables(c.sequence_len, c.n_embd // c.n_head)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.reset()

    def reset(self) -> None:
        """nanochat's init: embedding N(0, 1), zero head and output projections, matrices scaled by fan."""
        for name, p in self.named_parameters():
            if "c_proj" in name or "lm_head" in name:
                nn.init.zeros_(p)
            elif "wte" in name:
                nn.init.normal_(p, std=1.0)
            else:
                rows, cols = p.shape
                nn.init.normal_(p, std=min(1.0, math.sqrt(rows / cols)) / math.sqrt(cols))

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits [B, T, V]; mask [B, 1, T, T] is added to the scores instead of the causal mask."""
        cos, sin = self.cos[: ids.size(1)], self.sin[: ids.size(1)]
        x = rms_norm(self.transformer["wte"](ids))
        for block in self.transformer["h"]:
            x = block(x, cos, sin, mask)
        logits = self.lm_head(rms_norm(x)).float()
        return 15.0 * torch.tanh(logits / 15.0)


def document_mask(ids: Tensor, bos: int) -> Tensor:
    """[B, 1, T, T]: 0 where a token may see an earlier one of its own document, else -inf; documents begin with bos."""
    document = (ids == bos).cumsum(-1)
    T = ids.size(1)
    visible = (document[:, :, None] == document[:, None, :]) & torch.ones(T, T, dtype=torch.bool).tril()
    return torch.zeros(visible.shape, dtype=torch.bfloat16).masked_fill_(~visible, -torch.inf)[:, None]


# ---------------------------------------------------------------- GPT-2 style models


@dataclass
class GPTConfig:
    """Field names are nanoGPT's `model_args`."""

    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    bias: bool
    vocab_size: int
    dropout: float = 0.0


class LayerNorm(nn.Module):
    """Layer norm with an optional bias, eps 1e-5."""

    def __init__(self, size: int, bias: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class FusedAttention(nn.Module):
    """Causal attention with one matrix for q, k and v; the attribute names differ between families."""

    def __init__(self, c: GPTConfig, qkv_name: str, out_name: str, qkv_bias: bool, out_bias: bool):
        super().__init__()
        self.n_head, self.qkv_name, self.out_name = c.n_head, qkv_name, out_name
        setattr(self, qkv_name, nn.Linear(c.n_embd, 3 * c.n_embd, bias=qkv_bias))
        setattr(self, out_name, nn.Linear(c.n_embd, c.n_embd, bias=out_bias))

    def forward(self, x: Tensor) -> Tensor:
        B, T, N = x.shape
        qkv = getattr(self, self.qkv_name)(x).view(B, T, 3, self.n_head, N // self.n_head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [B, H, T, D]
        y = attend(q, k, v)
        return getattr(self, self.out_name)(y.transpose(1, 2).reshape(B, T, N))


class GeluMLP(nn.Module):
    """c_proj(gelu(c_fc(x))), the exact (erf) GELU, hidden size 4N."""

    def __init__(self, c: GPTConfig, bias: bool):
        super().__init__()
        self.c_fc = nn.Linear(c.n_embd, 4 * c.n_embd, bias=bias)
        self.c_proj = nn.Linear(4 * c.n_embd, c.n_embd, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x)))


class GPTBlock(nn.Module):
    def __init__(self, c: GPTConfig, norm_bias: bool, attn: nn.Module, mlp: nn.Module):
        super().__init__()
        self.ln_1, self.attn = LayerNorm(c.n_embd, norm_bias), attn
        self.ln_2, self.mlp = LayerNorm(c.n_embd, norm_bias), mlp

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """Learned positions, pre-norm blocks, final norm, head tied to the token embedding."""

    blocks_name: str

    def __init__(self, c: GPTConfig, norm_bias: bool):
        super().__init__()
        self.config, self.context = c, c.block_size
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(c.vocab_size, c.n_embd),
                "wpe": nn.Embedding(c.block_size, c.n_embd),
                self.blocks_name: nn.ModuleList(self.make_block(c) for _ in range(c.n_layer)),
                "ln_f": LayerNorm(c.n_embd, norm_bias),
            }
        )
        self.lm_head = nn.Linear(c.n_embd, c.vocab_size, bias=False)
        self.lm_head.weight = self.transformer["wte"].weight
        for name, p in self.named_parameters():
            if p.dim() == 2:  # GPT-2's init: residual projections are scaled by the number of additions
                residual = name.endswith(("c_proj.weight", "out_proj.weight"))
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * c.n_layer) if residual else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def make_block(self, c: GPTConfig) -> GPTBlock:
        raise NotImplementedError

    def forward(self, ids: Tensor) -> Tensor:
        x = self.transformer["wte"](ids) + self.transformer["wpe"].weight[: ids.size(1)]
        for block in self.transformer[self.blocks_name]:
            x = block(x)
        return self.lm_head(self.transformer["ln_f"](x)).float()


class NanoGPT(GPT):
    blocks_name = "h"

    def __init__(self, c: GPTConfig):
        super().__init__(c, norm_bias=c.bias)

    def make_block(self, c: GPTConfig) -> GPTBlock:
        return GPTBlock(c, c.bias, FusedAttention(c, "c_attn", "c_proj", c.bias, c.bias), GeluMLP(c, c.bias))


class MiniGPT(GPT):
    blocks_name = "blocks"

    def __init__(self, c: GPTConfig):
        super().__init__(c, norm_bias=True)

    def make_block(self, c: GPTConfig) -> GPTBlock:
        return GPTBlock(c, True, FusedAttention(c, "qkv_proj", "out_proj", True, False), GeluMLP(c, False))
