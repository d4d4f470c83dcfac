"""Train demo model 2 (MiniGPT, Chinese questions and answers) and write its checkpoint.

    python train_minigpt.py --out ../models/minigpt
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

import torch

from checkpoints import MINIGPT_HEADS, load_minigpt, save_minigpt
from chinese import all_questions, encode, vocabulary
from models import GPTConfig, MiniGPT
from train import Batch, train

SEED, BATCH, BLOCK_SIZE = 77, 16, 128
STEPS_PER_EPOCH = 100  # "epoch" in the checkpoint counts these


def stream(rng: random.Random, word2id: dict[str, int]) -> Iterator[list[int]]:
    """Endless `question <sep> answer <sep>` sequences."""
    pairs = all_questions()
    sep = word2id["<sep>"]
    while True:
        question, answer = rng.choice(pairs)
        yield [*encode(question, word2id), sep, *encode(answer, word2id), sep]


def batches(seed: int, word2id: dict[str, int]) -> Iterator[Batch]:
    """Rows of whole sequences; most begin with a question, some inside one, as the windows of a long text do."""
    rng = random.Random(seed)
    source = stream(rng, word2id)

    def row() -> list[int]:
        ids = next(source)
        if rng.random() < 0.3:
            ids = ids[rng.randrange(len(ids)) :]
        while len(ids) <= BLOCK_SIZE:
            ids = ids + next(source)
        return ids[: BLOCK_SIZE + 1]

    while True:
        rows = torch.tensor([row() for _ in range(BATCH)])
        yield rows[:, :-1], rows[:, 1:].contiguous()


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--out", type=Path, required=True)
    args.add_argument("--steps", type=int, default=1500)
    args.add_argument("--minutes", type=float, help="end by the clock instead of by --steps")
    args.add_argument("--start", type=Path, help="continue from this folder's checkpoint")
    args.add_argument("--threads", type=int, default=2)
    options = args.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)

    if options.start:
        model, word2id = load_minigpt(options.start)
    else:
        word2id = vocabulary()
        config = GPTConfig(n_layer=3, n_head=MINIGPT_HEADS, n_embd=96, block_size=BLOCK_SIZE, bias=True, vocab_size=len(word2id))
        model = MiniGPT(config)
    done = train(
        model, batches(SEED, word2id), options.steps,
        matrix_lr=0.01, embed_lr=0.003, head_lr=0.003, seconds=options.minutes and 60 * options.minutes,
    )  # fmt: skip
    save_minigpt(model, options.out, done // STEPS_PER_EPOCH, word2id)


if __name__ == "__main__":
    main()
