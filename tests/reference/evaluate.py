"""Cross-entropy over windows of the context length."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

WINDOWS = (
    "windows of the context length: the first starts at token 0, each next one where the former ended, the last may be "
    "shorter; nothing precedes a window; the first token of each window is not predicted; mean over all predicted tokens"
)


@torch.no_grad()
def windowed_ce(model: nn.Module, ids: list[int]) -> tuple[float, int]:
    """Mean cross-entropy in nats and the number of predicted tokens; see WINDOWS."""
    total, count = 0.0, 0
    for start in range(0, len(ids), model.context):
        window = torch.tensor(ids[start : start + model.context])
        if len(window) > 1:
            logits = model(window[None, :-1])[0]
            total += F.cross_entropy(logits.double(), window[1:], reduction="sum").item()
            count += len(window) - 1
    return total / count, count
