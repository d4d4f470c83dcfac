"""nanochat's generations of 2026 in plain PyTorch, written from the description of each: no cache, every mask spelled out.

The constants that a checkpoint does not hold are the columns of ERAS, newest first.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Era:
    base: float
    rounded: bool  # rotary tables are bf16
    gate: int  # channels that gate the value embeddings; 0: there are none
    gain: float
    qk: float
    smear: bool
    short: object  # the short window of a context
    softcap: float = 15.0


def up(context: int, share: int) -> int:
    return math.ceil(context / share / 128) * 128


ERAS = {
    "march14": Era(100000, False, 12, 3, 1.2, True, lambda n: up(n, 4)),
    "march9": Era(100000, False, 12, 3, 1.15, False, lambda n: up(n, 3)),
    "march3": Era(10000, False, 32, 2, 1, False, lambda n: n // 2, 20.0),
    "january17": Era(10000, True, 32, 2, 1, False, lambda n: n // 2),
    "january11": Era(10000, True, 0, 0, 1, False, lambda n: n // 2),
}
SETTINGS = {"march3": "softcap=20 rope_bf16=0"}  # what the tensors do not tell from January's


def norm(x):
    return x / (x.square().mean(-1, keepdim=True) + 2.0**-23).sqrt()


class NanoChat(nn.Module):
    def __init__(self, era: str, vocab: int, context: int, n: int = 32, heads: int = 4, kv_heads: int = 2, layers: int = 3,
                 pattern: str = "SSL"):
        super().__init__()
        self.era, self.settings = ERAS[era], SETTINGS.get(era)
        self.n, self.heads, self.kv_heads, self.layers, self.vocab = n, heads, kv_heads, layers, vocab
        self.context, self.pattern = context, pattern
        d, padded, w = n // heads, -(-vocab // 64) * 64, {}
        w["transformer.wte.weight"], w["lm_head.weight"] = (padded, n), (padded, n)
        for i in range(layers):
            at = f"transformer.h.{i}."
            w |= {at + "attn.c_q.weight": (n, n), at + "attn.c_k.weight": (kv_heads * d, n), at + "attn.c_v.weight": (kv_heads * d, n),
                  at + "attn.c_proj.weight": (n, n), at + "mlp.c_fc.weight": (2 * n, n), at + "mlp.c_proj.weight": (n, 2 * n)}
            if self.era.gate and i % 2 == (layers - 1) % 2:
                w |= {at + "attn.ve_gate.weight": (kv_heads, self.era.gate), f"value_embeds.{i}.weight": (padded, kv_heads * d)}
        w["resid_lambdas"] = w["x0_lambdas"] = (layers,)
        if self.era.smear:
            w |= {"smear_gate.weight": (1, 24), "smear_lambda": (1,), "backout_lambda": (1,)}
        self.names = list(w)
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(shape) * (0.3 if len(shape) > 1 else 0.5)) for shape in w.values())

    def get(self, name: str):
        return self.weights[self.names.index(name)]

    def rotate(self, x):
        T, D = x.shape[-2:]
        frequency = 1.0 / self.era.base ** (torch.arange(0, D, 2).float() / D)
        angle = torch.outer(torch.arange(T).float(), frequency)
        cos, sin = (angle.cos().bfloat16(), angle.sin().bfloat16()) if self.era.rounded else (angle.double().cos(), angle.double().sin())
        cos, sin = cos.to(x), sin.to(x)
        a, b = x[..., : D // 2], x[..., D // 2 :]
        return torch.cat((a * cos + b * sin, b * cos - a * sin), -1)

    def attend(self, i: int, x, ids):
        T, d = len(ids), self.n // self.heads
        at = f"transformer.h.{i}.attn."
        q, k, v = ((x @ self.get(at + f"c_{c}.weight").T).view(T, -1, d).transpose(0, 1) for c in "qkv")
        if at + "ve_gate.weight" in self.names:
            gate = self.era.gain * torch.sigmoid(x[:, : self.era.gate] @ self.get(at + "ve_gate.weight").T)  # [T, kv_heads]
            embedding = self.get(f"value_embeds.{i}.weight")[ids].view(T, -1, d).transpose(0, 1)
            v = v + gate.T[:, :, None] * embedding
        q, k = norm(self.rotate(q)) * self.era.qk, norm(self.rotate(k)) * self.era.qk
        group = self.heads // self.kv_heads
        k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
        is_short = self.pattern[i % len(self.pattern)] == "S" and i < self.layers - 1
        window = self.era.short(self.context) if is_short else self.context
        distance = torch.arange(T)[:, None] - torch.arange(T)[None]
        scores = (q @ k.transpose(1, 2)) / math.sqrt(d)
        scores = scores.masked_fill((distance < 0) | (distance > window), -math.inf)
        y = scores.softmax(-1) @ v
        return y.transpose(0, 1).reshape(T, -1) @ self.get(at + "c_proj.weight").T

    def forward(self, ids):
        ids = ids[0]
        x = norm(self.get("transformer.wte.weight")[ids])
        if self.era.smear:
            gate = self.get("smear_lambda") * torch.sigmoid(x[1:, :24] @ self.get("smear_gate.weight").T)
            x = torch.cat((x[:1], x[1:] + gate * x[:-1]))
        x0, middle = x, None
        for i in range(self.layers):
            x = self.get("resid_lambdas")[i] * x + self.get("x0_lambdas")[i] * x0
            x = x + self.attend(i, norm(x), ids)
            at = f"transformer.h.{i}.mlp."
            x = x + F.relu(norm(x) @ self.get(at + "c_fc.weight").T).square() @ self.get(at + "c_proj.weight").T
            if i == self.layers // 2:
                middle = x
        if self.era.smear:
            x = x - self.get("backout_lambda") * middle
        logits = norm(x) @ self.get("lm_head.weight")[: self.vocab].T
        return type("output", (), {"logits": (self.era.softcap * torch.tanh(logits / self.era.softcap))[None]})

    def save(self, folder: Path) -> list[str]:
        torch.save({name: p.detach().bfloat16() for name, p in zip(self.names, self.weights)}, folder / "model_000007.pt")
        config = {"sequence_len": self.context, "vocab_size": self.vocab, "n_layer": self.layers, "n_head": self.heads,
                  "n_kv_head": self.kv_heads, "n_embd": self.n, "window_pattern": self.pattern}
        with open(folder / "meta_000007.json", "w") as f:
            json.dump({"step": 7, "model_config": config}, f)
        return ["."]
