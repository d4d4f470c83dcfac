"""The training loop that the three demo models share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from models import IGNORE, next_token_loss
from optim import make_optimizers

Batch = tuple[Tensor, Tensor]  # ids [B, T], targets [B, T] with IGNORE where there is no loss


def packed_batches(stream: Iterable[tuple[list[int], list[bool]]], batch: int, length: int) -> Iterator[Batch]:
    """Documents one after another, cut into rows of `length` tokens (nanochat's and nanoGPT's way)."""
    ids: list[int] = []
    has_loss: list[bool] = []
    need = batch * length + 1
    for document_ids, document_loss in stream:
        ids += document_ids
        has_loss += document_loss
        if len(ids) < need:
            continue
        x = torch.tensor(ids[: need - 1]).view(batch, length)
        y = torch.tensor(ids[1:need])
        y[~torch.tensor(has_loss[1:need])] = IGNORE
        yield x, y.view(batch, length)
        del ids[: need - 1], has_loss[: need - 1]


def schedule(progress: float, warmup: float, decay: float) -> float:
    """Learning-rate factor over progress 0..1: linear warm-up, constant, linear decay to zero."""
    return min(1.0, (progress + 1e-3) / warmup, (1.0 - progress) / decay)


def disturb(model: nn.Module, noise: float) -> list[tuple[nn.Parameter, Tensor]]:
    """Add noise to every matrix, and say what was added."""
    added = []
    for p in model.parameters():
        if noise > 0 and p.dim() == 2:
            added.append((p, torch.randn_like(p) * (noise * p.detach().std())))
            p.data.add_(added[-1][1])
    return added


def train(
    model: nn.Module,
    batches: Iterator[Batch],
    steps: int,
    *,
    matrix_lr: float,
    embed_lr: float,
    head_lr: float,
    weight_decay: float = 0.0,
    decay: float = 0.5,
    noise: float = 0.0,
    mask: Callable[[Tensor], Tensor] | None = None,
    seconds: float | None = None,
    report: Callable[[int], str] | None = None,
    report_every: int = 100,
) -> int:
    """Train in place and return the number of steps done; matrix products run in bf16, weights and sums in f32.

    `mask` gives the attention mask of a batch of ids where a model should not see across documents. With `seconds` the
    schedule follows the clock and `steps` is only a limit: for machines whose speed is not known beforehand. With `noise`
    every step sees its matrices through Gaussian noise of that share of their standard deviation (Graves, 2011), which
    keeps a small model from solutions that a quantizer's rounding would destroy.
    """
    optimizers = make_optimizers(model, matrix_lr, embed_lr, head_lr, weight_decay)
    base = [[g["lr"] for g in o.param_groups] for o in optimizers]
    smooth, done, started = 0.0, 0, time.monotonic()
    for step in range(steps):
        progress = step / steps if seconds is None else (time.monotonic() - started) / seconds
        if progress >= 1.0:
            break
        factor = schedule(progress, warmup=0.02, decay=decay)
        for optimizer, rates in zip(optimizers, base):
            for group, rate in zip(optimizer.param_groups, rates):
                group["lr"] = rate * factor
        ids, targets = next(batches)
        disturbance = disturb(model, noise)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(ids) if mask is None else model(ids, mask(ids))
            loss = next_token_loss(logits, targets)
        loss.backward()
        for p, d in disturbance:
            p.data.sub_(d)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        smooth = loss.item() if step == 0 else 0.95 * smooth + 0.05 * loss.item()
        done = step + 1
        if done % 50 == 0:
            elapsed = time.monotonic() - started
            print(f"step {done:5d}  loss {smooth:.4f}  {elapsed:6.0f} s  {done * ids.numel() / elapsed:.0f} tokens/s", flush=True)
        if report is not None and done % report_every == 0:
            print(report(done), flush=True)
    return done
