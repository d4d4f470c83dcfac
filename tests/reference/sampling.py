"""Generation without a KV cache: the whole sequence goes through the model for every token."""

from __future__ import annotations

from dataclasses import dataclass, field

import tiktoken
import torch
from torch import Tensor, nn

from calculator import calculate
from corpus import ASSISTANT, BOS, OUTPUT, PYTHON, USER


@dataclass
class Reply:
    """ids without the prompt and without the terminal token; margins[i] = top1 - top2 logit, None where forced."""

    ids: list[int] = field(default_factory=list)
    margins: list[float | None] = field(default_factory=list)
    finished: bool = False


def conversation_prompt(encoding: tiktoken.Encoding, turns: list[str]) -> list[int]:
    """bos, then the turns (user and assistant in alternation, the last one the user's), then assistant_start."""
    token = encoding.encode_single_token
    ids = [token(BOS)]
    for i, text in enumerate(turns):
        start, end = (USER, ASSISTANT)[i % 2]
        ids += [token(start), *encoding.encode_ordinary(text), token(end)]
    return ids + [token(ASSISTANT[0])]


@torch.no_grad()
def next_logits(model: nn.Module, ids: list[int]) -> Tensor:
    """Logits [V] after the last id."""
    return model(torch.tensor([ids]))[0, -1]


def generate(
    model: nn.Module,
    prompt: list[int],
    max_tokens: int,
    stop: set[int],
    *,
    encoding: tiktoken.Encoding | None = None,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> Reply:
    """Greedy (temperature 0, lowest id wins a tie) or sampled; with an encoding the calculator is in the loop."""
    reply, forced = Reply(), []
    special = {t: encoding.encode_single_token(t) for t in (*PYTHON, *OUTPUT)} if encoding else {}
    python_from: int | None = None
    for _ in range(min(max_tokens, model.context - len(prompt))):
        if forced:
            token, margin = forced.pop(0), None
        else:
            logits = next_logits(model, prompt + reply.ids)
            best = logits.topk(2)
            margin = (best.values[0] - best.values[1]).item()
            if temperature > 0:
                token = int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator))
            else:
                token = int(logits.argmax())
        if token in stop:
            reply.finished = True
            reply.margins.append(margin)
            return reply
        reply.ids.append(token)
        reply.margins.append(margin)
        if token == special.get(PYTHON[0]):
            python_from = len(reply.ids)
        elif token == special.get(PYTHON[1]) and python_from is not None:
            result = calculate(encoding.decode(reply.ids[python_from:-1]))
            python_from = None
            if result is not None:
                forced = [special[OUTPUT[0]], *encoding.encode_ordinary(result), special[OUTPUT[1]]]
    return reply


def visible(encoding: tiktoken.Encoding, ids: list[int]) -> str:
    """The reply without its calculator parts."""
    hidden, kept = 0, []
    opening = {encoding.encode_single_token(PYTHON[0]), encoding.encode_single_token(OUTPUT[0])}
    closing = {encoding.encode_single_token(PYTHON[1]), encoding.encode_single_token(OUTPUT[1])}
    for token in ids:
        if token in opening:
            hidden += 1
        elif token in closing:
            hidden -= 1
        elif hidden == 0:
            kept.append(token)
    return encoding.decode(kept)
