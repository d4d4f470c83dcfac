"""Train demo model 1 (nanochat, November 2025) and write its checkpoint as nanochat does.

    python train_nanochat.py --out ../models/nanochat
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import tiktoken
import torch

from checkpoints import load_nanochat, only, save_nanochat
from corpus import BOS, documents, plain_stories
from evaluate import windowed_ce
from models import NanoChat, NanoChatConfig, document_mask
from tokenizer import encode_document, load_tokenizer, save_tokenizer, train_tokenizer
from train import Batch, packed_batches, train

SEED, HELDOUT_SEED = 1234, 987654
VOCAB_SIZE, TOKENIZER_DOCUMENTS = 1024, 20000
BATCH, MATRIX_LR, EMBED_LR, HEAD_LR = 8, 0.02, 0.1, 0.004


def bits_per_byte(model: NanoChat, encoding: tiktoken.Encoding, text: str) -> float:
    ids = encoding.encode_ordinary(text)
    ce, _ = windowed_ce(model, ids)
    return ce / math.log(2) * len(ids) / len(text.encode())


def mixed_batches(stream: Iterable[tuple[list[int], list[bool]]], context: int) -> Iterator[Batch]:
    """Three batches of half the context (cheaper, and most documents fit) for every batch of the whole."""
    half, whole = packed_batches(stream, 2 * BATCH, context // 2), packed_batches(stream, BATCH, context)
    while True:
        yield from itertools.islice(half, 3)
        yield next(whole)


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--out", type=Path, required=True)
    args.add_argument("--steps", type=int, default=3000)
    args.add_argument("--minutes", type=float, help="end by the clock instead of by --steps")
    args.add_argument("--start", type=Path, help="continue from this folder's checkpoint and tokenizer")
    args.add_argument("--threads", type=int, default=2)
    options = args.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)

    if options.start:
        encoding, model = load_tokenizer(options.start / "tokenizer.pkl"), load_nanochat(options.start)
        first = int(only(options.start, "model_*.pt").stem.split("_")[1])
    else:
        encoding, first = train_tokenizer(VOCAB_SIZE, SEED, TOKENIZER_DOCUMENTS), 0
        model = NanoChat(NanoChatConfig(vocab_size=encoding.n_vocab))
    save_tokenizer(encoding, options.out / "tokenizer.pkl")
    heldout = plain_stories(random.Random(HELDOUT_SEED), 20)
    started = time.monotonic()

    def save(step: int) -> str:
        bpb = bits_per_byte(model, encoding, heldout)
        meta = {
            "step": step,
            "val_bpb": round(bpb, 6),
            "model_config": asdict(model.config),
            "user_config": {
                "run": "demo", "depth": model.config.n_layer, "max_seq_len": model.context, "num_iterations": step,
                "device_batch_size": BATCH, "total_batch_size": BATCH * model.context, "embedding_lr": EMBED_LR,
                "unembedding_lr": HEAD_LR, "matrix_lr": MATRIX_LR, "weight_decay": 0.0,
            },
            "device_batch_size": BATCH,
            "max_seq_len": model.context,
            "loop_state": {"total_training_time": round(time.monotonic() - started, 1)},
        }  # fmt: skip
        for old in options.out.glob("m*_[0-9]*"):
            old.unlink()
        save_nanochat(model, options.out, step, json.dumps(meta, indent=2) + "\n")
        return f"step {step}: {bpb:.4f} bits per byte of held-out stories"

    stream = (encode_document(encoding, d) for d in documents(SEED + first))
    bos = encoding.encode_single_token(BOS)
    done = train(
        model, mixed_batches(stream, model.context), options.steps,
        matrix_lr=MATRIX_LR, embed_lr=EMBED_LR, head_lr=HEAD_LR,
        mask=lambda ids: document_mask(ids, bos), decay=0.7, seconds=options.minutes and 60 * options.minutes,
        report=lambda step: save(first + step),
    )  # fmt: skip
    print(save(first + done))


if __name__ == "__main__":
    main()
