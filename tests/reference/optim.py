"""Muon for matrices and AdamW for the rest, the split that nanochat trains with.

Muon (Keller Jordan, 2024): Nesterov momentum whose update is orthogonalised by a quintic Newton-Schulz iteration.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def orthogonalise(g: Tensor, steps: int = 5) -> Tensor:
    """Push the singular values of g [R, C] towards 1 with the iteration's published coefficients, in bf16."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = (g.T if g.size(0) > g.size(1) else g).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return (x.T if g.size(0) > g.size(1) else x).to(g.dtype)


class Muon(torch.optim.Optimizer):
    """For 2-D weights only. The step is scaled by sqrt(max(1, rows / cols)), weight decay is decoupled."""

    def __init__(self, params: list[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                buf = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                buf.lerp_(p.grad, 1 - group["momentum"])
                update = orthogonalise(p.grad.lerp(buf, group["momentum"]))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * max(1.0, p.size(0) / p.size(1)) ** 0.5)


def make_optimizers(
    model: nn.Module, matrix_lr: float, embed_lr: float, head_lr: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices; AdamW for embeddings, positions and norms (embed_lr) and the head (head_lr)."""
    blocks, head, rest = [], [], []
    for name, p in model.named_parameters():
        inside = ".h." in name or ".blocks." in name
        (blocks if inside and p.dim() == 2 else head if name.startswith("lm_head") else rest).append(p)
    groups = [{"params": rest, "lr": embed_lr}] + ([{"params": head, "lr": head_lr}] if head else [])
    adam = torch.optim.AdamW(groups, betas=(0.8, 0.95), eps=1e-10, weight_decay=0.0)
    return [Muon(blocks, matrix_lr, weight_decay=weight_decay), adam]
