"""Train demo model 3 (nanoGPT, the English stories character by character) and write its checkpoint.

    python train_nanogpt.py --out ../models/nanogpt
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from checkpoints import load_nanogpt, save_nanogpt
from corpus import plain_stories
from evaluate import windowed_ce
from models import GPTConfig, NanoGPT
from train import packed_batches, train

SEED, HELDOUT_SEED, BATCH = 4321, 987654, 3
BLOCK_SIZE = 704  # the longest story has fewer characters
# Decay and noise: so small a model otherwise grows gains that magnify the rounding of quantized weights.
RATES = {"matrix_lr": 0.01, "embed_lr": 0.002, "head_lr": 0.003, "weight_decay": 0.2, "noise": 0.06}


def stream(seed: int, stoi: dict[str, int]) -> Iterator[tuple[list[int], list[bool]]]:
    """Endless stories, a blank line after each."""
    rng = random.Random(seed)
    while True:
        ids = [stoi[c] for c in plain_stories(rng, 1) + "\n\n"]
        yield ids, [True] * len(ids)


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--out", type=Path, required=True)
    args.add_argument("--steps", type=int, default=3000)
    args.add_argument("--minutes", type=float, help="end by the clock instead of by --steps")
    args.add_argument("--start", type=Path, help="continue from this folder's checkpoint")
    args.add_argument("--threads", type=int, default=2)
    options = args.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)

    chars = ["\n", *map(chr, range(0x20, 0x7F))]  # printable ASCII, so that any English prompt can be encoded
    stoi = {c: i for i, c in enumerate(chars)}
    config = GPTConfig(n_layer=3, n_head=4, n_embd=96, block_size=BLOCK_SIZE, bias=False, vocab_size=len(chars))
    model = load_nanogpt(options.start).train() if options.start else NanoGPT(config)
    heldout = [stoi[c] for c in plain_stories(random.Random(HELDOUT_SEED), 20)]

    def save(step: int) -> str:
        val_loss, _ = windowed_ce(model, heldout)
        settings = {"out_dir": "out-stories", "dataset": "stories", "batch_size": BATCH, "max_iters": step,
                    "learning_rate": RATES["matrix_lr"], **asdict(config), "device": "cpu", "dtype": "bfloat16"}  # fmt: skip
        save_nanogpt(model, options.out, step, val_loss, chars, settings)
        return f"step {step}: {val_loss:.4f} nats per character of held-out stories"

    done = train(
        model, packed_batches(stream(SEED, stoi), BATCH, config.block_size), options.steps,
        seconds=options.minutes and 60 * options.minutes, report=save, **RATES,
    )  # fmt: skip
    print(save(done))


if __name__ == "__main__":
    main()
