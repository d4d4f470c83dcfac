"""Checkpoints in upstream's file forms: how the demo models are saved and loaded."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict
from pathlib import Path

import torch

from models import GPTConfig, MiniGPT, NanoChat, NanoChatConfig, NanoGPT

MINIGPT_HEADS = 8  # the tutorial's default; its checkpoint does not store it


def only(folder: Path, pattern: str) -> Path:
    """The one file of that name."""
    (path,) = folder.glob(pattern)
    return path


def save_nanochat(model: NanoChat, folder: Path, step: int, meta: str) -> None:
    """All tensors in bf16, as nanochat trains them on a GPU."""
    state = {name: tensor.detach().bfloat16() for name, tensor in model.state_dict().items()}
    torch.save(state, folder / f"model_{step:06d}.pt")
    (folder / f"meta_{step:06d}.json").write_text(meta)


def load_nanochat(folder: Path) -> NanoChat:
    config = json.loads(only(folder, "meta_*.json").read_text())["model_config"]
    model = NanoChat(NanoChatConfig(**config))
    model.load_state_dict({n: t.float() for n, t in torch.load(only(folder, "model_*.pt")).items()})
    return model.eval()


def save_nanogpt(model: NanoGPT, folder: Path, iterations: int, val_loss: float, chars: list[str], config: dict) -> None:
    """nanoGPT's dictionary without the optimizer state, weights in bf16."""
    checkpoint = {
        "model": {name: tensor.detach().bfloat16() for name, tensor in model.state_dict().items()},
        "model_args": asdict(model.config),
        "iter_num": iterations,
        "best_val_loss": torch.tensor(val_loss),
        "config": config,
    }
    torch.save(checkpoint, folder / "ckpt.pt")
    meta = {"vocab_size": len(chars), "itos": dict(enumerate(chars)), "stoi": {c: i for i, c in enumerate(chars)}}
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta))


def load_nanogpt(folder: Path) -> NanoGPT:
    checkpoint = torch.load(folder / "ckpt.pt")
    model = NanoGPT(GPTConfig(**checkpoint["model_args"]))
    model.load_state_dict(checkpoint["model"])
    return model.eval()


def load_nanogpt_chars(folder: Path) -> dict[str, int]:
    return pickle.loads((folder / "meta.pkl").read_bytes())["stoi"]


def save_minigpt(model: MiniGPT, folder: Path, epoch: int, word2id: dict[str, int]) -> None:
    """f32 weights; the optimizer state is that of an optimizer that has not stepped."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    checkpoint = {
        "epoch": epoch,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
    }
    torch.save(checkpoint, folder / "best_model.pth")
    vocab = {"word2id": word2id, "id2word": {str(i): w for w, i in word2id.items()}}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False, indent=4) + "\n", encoding="utf-8")


def load_minigpt(folder: Path) -> tuple[MiniGPT, dict[str, int]]:
    """Sizes come from the tensors' shapes, the number of heads from the tutorial."""
    state = torch.load(folder / "best_model.pth")["model_state_dict"]
    vocab_size, n_embd = state["transformer.wte.weight"].shape
    n_layer = 1 + max(int(n.split(".")[2]) for n in state if ".blocks." in n)
    block_size = state["transformer.wpe.weight"].size(0)
    model = MiniGPT(GPTConfig(n_layer, MINIGPT_HEADS, n_embd, block_size, True, vocab_size))
    model.load_state_dict(state)
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    return model.eval(), vocab["word2id"]
