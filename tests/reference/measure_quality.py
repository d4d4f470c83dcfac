"""What quantization costs, ours and ggml's, on the same weights: writes quality.md.

    python measure_quality.py --nibble ../../build/release/nibble --ggml PATH/libggml-base.so [--shared ../../../shared/reference]

ggml's rows: its own quantizers (`ggml_quantize_chunk`, with and without an importance matrix) write every matrix in the
type that llama.cpp's quantize program would choose for it, its own dequantizers read it back, and the result is a
checkpoint that `nibble convert --type f32` takes: only the weights differ, activations are f32. Our rows are the files
as they run, with activations in int8. libggml-base.so is part of PyPI's llama-cpp-python.

Rows that are not measured keep what stands in the table, so that a part can be measured anew:

    python measure_quality.py nanochat --rows '^q4' --nibble ... --ggml ... --out quality.md
"""

from __future__ import annotations

import argparse
import ctypes
import json
import pickle
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from checkpoints import load_minigpt, load_nanochat, load_nanogpt, load_nanogpt_chars, only
from chinese import all_questions, encode
from corpus import plain_stories
from tokenizer import load_tokenizer

# Of the generators that the demo models learned from: other documents than they saw, and others for either purpose.
CALIBRATION_SEED, MEASURED_SEED, TOKENS = 20240, 20241, 16384

# ---------------------------------------------------------------- ggml

# Numbers of ggml's enumeration of types; columns of a block; what llama.cpp takes where rows are no multiple of it.
TYPES = {"Q4_0": 2, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14, "IQ4_NL": 20}
FALLBACK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


class Ggml:
    """Quantize and dequantize with the library's own functions."""

    def __init__(self, path: Path):
        self.lib = ctypes.CDLL(str(path))
        self.lib.ggml_row_size.restype = ctypes.c_size_t
        self.lib.ggml_row_size.argtypes = [ctypes.c_int, ctypes.c_int64]
        self.lib.ggml_quantize_chunk.restype = ctypes.c_size_t
        pointer = ctypes.c_void_p
        self.lib.ggml_quantize_chunk.argtypes = [
            ctypes.c_int, pointer, pointer, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, pointer,
        ]  # fmt: skip

    def round_trip(self, w: Tensor, type_name: str, importance: Tensor | None) -> tuple[Tensor, int]:
        """What remains of w [rows, cols], and its bytes; importance [cols]."""
        rows, cols = w.shape
        code, w = TYPES[type_name], w.float().contiguous()
        n_bytes = rows * self.lib.ggml_row_size(code, cols)
        packed = ctypes.create_string_buffer(n_bytes)
        weights = None if importance is None else importance.float().contiguous()
        self.lib.ggml_quantize_chunk(code, w.data_ptr(), packed, 0, rows, cols, None if weights is None else weights.data_ptr())
        back = torch.empty_like(w)
        name = "dequantize_row_" + type_name.lower().replace("_k", "_K")
        getattr(self.lib, name)(packed, ctypes.c_void_p(back.data_ptr()), ctypes.c_int64(rows * cols))
        return back, n_bytes


def more_bits(layer: int, n_layer: int) -> bool:
    """llama.cpp's use_more_bits."""
    eighth = n_layer // 8
    return layer < eighth or layer >= 7 * n_layer // 8 or (layer - eighth) % 3 == 2


def llama_type(mixture: str, role: str, layer: int, n_layer: int, cols: int) -> str:
    """As llama_tensor_get_type chooses, for models of fewer than 8 blocks; "Q4_K_M" is the only real mixture here."""
    base = {"Q4_K_M": "Q4_K"}.get(mixture, mixture)
    chosen = base
    if role == "output":
        block = 256 if base.endswith("_K") else 32
        chosen = "Q8_0" if cols % block or base == "Q8_0" else "Q6_K"
    elif mixture == "Q4_K_M" and role == "qkv":
        chosen = "Q5_K"
    elif mixture == "Q4_K_M" and role in ("v", "down") and more_bits(layer, n_layer):
        chosen = "Q6_K"
    return FALLBACK[chosen] if chosen.endswith("_K") and cols % 256 else chosen


ROLES = [
    (r"lm_head", "output"),
    (r"attn\.c_attn|attn\.qkv_proj", "qkv"),
    (r"attn\.c_v", "v"),
    (r"mlp\.c_proj", "down"),
    (r"wte|attn\.|mlp\.", "matrix"),
]


def role_of(name: str, tied: bool) -> str | None:
    """None: llama.cpp leaves it alone, as it does positions and vectors."""
    if tied and "wte" in name:
        return "output"
    return next((role for pattern, role in ROLES if re.search(pattern, name)), None)


# ---------------------------------------------------------------- models


@dataclass
class Case:
    """One model: where it is, what it is measured on and calibrated with."""

    name: str
    folder: Path
    model: nn.Module
    measured: list[str]  # options of `nibble perplexity`
    calibration: list[int]  # ids of text like the training's that is not measured
    checkpoint: str
    text: str | None = None  # the same as text, where text can say it
    convert: list[str] = field(default_factory=list)
    tied: bool = True
    scored: str = ""  # on how many tokens, once something was measured

    def save(self, weights: dict[str, Tensor], folder: Path) -> Path:
        """The checkpoint with other weights, in f32."""
        shutil.copytree(self.folder, folder)
        folder.chmod(0o755)
        path = folder / self.checkpoint
        path.chmod(0o644)
        state = torch.load(path, weights_only=False)
        inner = state.get("model", state.get("model_state_dict", state))
        for name, w in weights.items():
            for key in (name, *(["lm_head.weight"] if self.tied and "wte" in name else [])):
                if key in inner:
                    inner[key] = w.clone()
        torch.save(state, path)
        return folder


def cut(stream: Iterator[list[int]], n: int) -> list[int]:
    ids: list[int] = []
    while len(ids) < n:
        ids += next(stream)
    return ids[:n]


def tokens_file(folder: Path, name: str, ids: list[int]) -> list[str]:
    path = folder / f"{name}.ids"
    path.write_text(" ".join(map(str, ids)))
    return ["--tokens-file", str(path)]


def make_cases(models: Path, shared: Path | None, scratch: Path) -> Iterator[Case]:
    folder = models / "nanochat"
    encoding = load_tokenizer(folder / "tokenizer.pkl")
    stories = {seed: plain_stories(random.Random(seed), 250) for seed in (CALIBRATION_SEED, MEASURED_SEED)}
    ids = {seed: encoding.encode_ordinary(text)[:TOKENS] for seed, text in stories.items()}
    yield Case("nanochat", folder, load_nanochat(folder), tokens_file(scratch, "nanochat", ids[MEASURED_SEED]),
               ids[CALIBRATION_SEED], only(folder, "model_*.pt").name, stories[CALIBRATION_SEED], tied=False)  # fmt: skip

    folder = models / "minigpt"
    model, word2id = load_minigpt(folder)

    def answers(seed: int, pairs: list[tuple[str, str]]) -> list[int]:
        rng, sep = random.Random(seed), word2id["<sep>"]
        return cut(iter(lambda: [i for part in rng.choice(pairs) for i in (*encode(part, word2id), sep)], None), TOKENS)

    pairs = all_questions()
    yield Case("minigpt", folder, model, tokens_file(scratch, "minigpt", answers(MEASURED_SEED, pairs[::2])),
               answers(CALIBRATION_SEED, pairs[1::2]), "best_model.pth", None, ["--set", "n_head=8"])  # fmt: skip

    folder = models / "nanogpt"
    stoi = load_nanogpt_chars(folder)
    ids = {seed: [stoi[c] for c in text[:TOKENS]] for seed, text in stories.items()}
    yield Case("nanogpt", folder, load_nanogpt(folder), tokens_file(scratch, "nanogpt", ids[MEASURED_SEED]),
               ids[CALIBRATION_SEED], "ckpt.pt", stories[CALIBRATION_SEED][:TOKENS])  # fmt: skip

    if shared and (shared / "nanogpt_trained").is_dir():
        folder = shared / "nanogpt_trained"
        stoi = pickle.loads((folder / "meta.pkl").read_bytes())["stoi"]
        heldout = (folder / "heldout.txt").read_text()
        (scratch / "measured.txt").write_text(heldout[:30000])
        text = heldout[30000:][-TOKENS:]
        yield Case("nanogpt_trained", folder, load_nanogpt(folder), ["--text", str(scratch / "measured.txt")],
                   [stoi[c] for c in text], "ckpt.pt", text)  # fmt: skip


@torch.no_grad()
def input_moments(case: Case) -> dict[str, Tensor]:
    """Mean squares of the inputs of every linear layer but the head, as llama.cpp's imatrix program collects them."""
    sums: dict[str, Tensor] = {}
    count = 0

    def hook(name: str) -> Callable:
        def add(_: nn.Module, inputs: tuple[Tensor]) -> None:
            x = inputs[0].double().reshape(-1, inputs[0].size(-1))
            sums[name] = sums.get(name, 0) + x.square().sum(0)

        return add

    handles = [
        m.register_forward_pre_hook(hook(f"{n}.weight"))
        for n, m in case.model.named_modules()
        if isinstance(m, nn.Linear) and "lm_head" not in n
    ]
    for at in range(0, len(case.calibration), case.model.context):
        ids = case.calibration[at : at + case.model.context]
        case.model(torch.tensor([ids]))
        count += len(ids)
    for h in handles:
        h.remove()
    return {name: (s / count).float() for name, s in sums.items()}


# ---------------------------------------------------------------- measuring


@dataclass
class Row:
    name: str
    measure: Callable[[], tuple[float, dict]]  # bits per weight, and what `nibble perplexity` says

    def line(self) -> str:
        bits, r = self.measure()
        kl = f"{r['kl_mean']:.6f} | {r['kl_stderr']:.6f} | {r['kl_p99']:.4f}"
        return f"| {self.name} | {bits:.2f} | {kl} | {100 * r['top1_agreement']:.2f} % |"


class Bench:
    def __init__(self, nibble: Path, ggml: Ggml, scratch: Path):
        self.nibble, self.ggml, self.scratch = nibble, ggml, scratch
        self.types = [t for t in ("q4", "q6", "q8") if re.search(rf"\b{t}\b", self.run("convert", "--help"))]

    def run(self, *args: str | Path) -> str:
        done = subprocess.run([self.nibble, *args], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"nibble {' '.join(map(str, args))}: {done.stderr}")
        return done.stdout

    def convert(self, case: Case, source: Path, name: str, *options: str) -> Path:
        target = self.scratch / f"{case.name}-{name}.nbl"
        self.run("convert", source, "-o", target, "--force", *case.convert, *options)
        return target

    def reference(self, case: Case) -> Path:
        """What the exact model says, of all its tokens."""
        path = self.scratch / f"{case.name}.nbr"
        if not path.exists():
            exact = self.convert(case, case.folder, "f32", "--type", "f32")
            self.run("perplexity", exact, *case.measured, "--save-reference", path, "--reference-top", "65536")
        return path

    def measure(self, case: Case, file: Path) -> dict:
        r = json.loads(self.run("perplexity", file, *case.measured, "--reference", self.reference(case), "--json"))
        case.scored = f"{r['tokens']} tokens, cross-entropy in f32 {r['reference_cross_entropy']:.4f} nats."
        file.unlink()
        return r

    def ours(self, case: Case, *options: str) -> tuple[float, dict]:
        file = self.convert(case, case.folder, "ours", *options)
        tensors = json.loads(self.run("inspect", file, "--json"))["tensors"]
        matrices = [t for t in tensors if len(t["shape"]) == 2 and t["name"] != "pos.weight"]
        count = sum(t["shape"][0] * t["shape"][1] for t in matrices)
        return 8 * sum(t["raw_bytes"] for t in matrices) / count, self.measure(case, file)

    def theirs(self, case: Case, mixture: str, with_moments: bool, across: bool = False) -> tuple[float, dict]:
        """across: blocks of 256 run across the ends of rows, so that narrow models show what the type itself loses."""
        n_layer = case.model.config.n_layer
        moments = input_moments(case) if with_moments else None
        weights, n_bytes, count = {}, 0, 0
        for name, w in case.model.state_dict().items():
            role = role_of(name, case.tied)
            if w.dim() != 2 or role is None or (case.tied and "lm_head" in name):
                continue
            layer = int(m.group(1)) if (m := re.search(r"\.(\d+)\.", name)) else 0
            cols = 256 if across else w.size(1)
            chosen = llama_type(mixture, role, layer, n_layer, cols)
            importance = moments.get(name) if moments else None
            flat = F.pad(w.flatten(), (0, -w.numel() % cols))
            back, size = self.ggml.round_trip(flat.reshape(-1, cols), chosen, importance)
            weights[name] = back.flatten()[: w.numel()].reshape(w.shape)
            n_bytes += size
            count += w.numel()
        folder = case.save(weights, self.scratch / f"{case.name}-theirs")
        file = self.convert(case, folder, "theirs", "--type", "f32")
        shutil.rmtree(folder)
        return 8 * n_bytes / count, self.measure(case, file)


def their_rows(bench: Bench, case: Case) -> Iterator[Row]:
    for mixture in ("Q4_0", "IQ4_NL", "Q4_K_M"):
        yield Row(mixture, partial(bench.theirs, case, mixture, False))
        yield Row(f"{mixture} with imatrix", partial(bench.theirs, case, mixture, True))
    yield Row("Q4_K_M, blocks across rows", partial(bench.theirs, case, "Q4_K_M", False, across=True))
    for mixture in ("Q6_K", "Q8_0"):
        yield Row(mixture, partial(bench.theirs, case, mixture, False))


def our_rows(bench: Bench, case: Case, q4_k_m: float | None) -> Iterator[Row]:
    """Plain and calibrated; and with types chosen for as many bits as Q4_K_M has, or half a bit less."""
    calibrations = {"calibrated on its own samples": "self"}
    if case.text:
        text = bench.scratch / f"{case.name}.txt"
        text.write_text(case.text)
        calibrations["calibrated on text"] = str(text)
    for name in bench.types:
        yield Row(name, partial(bench.ours, case, "--type", name))
        for how, calibration in calibrations.items():
            yield Row(f"{name} {how}", partial(bench.ours, case, "--type", name, "--calibrate", calibration))
    how, calibration = list(calibrations.items())[-1]
    for bits in [f"{q4_k_m - less:.2f}" for less in (0, 0.5)] if q4_k_m else []:
        yield Row(f"--bits {bits} {how}", partial(bench.ours, case, "--bits", bits, "--calibrate", calibration))


def rotated_rows(bench: Bench, case: Case) -> Iterator[Row]:
    """q4 of the same function in other weights; the residual stream only where norms have no weights that a tied head would need."""
    for rotations in ("vo", *(["residual", "vo,residual"] if case.name == "nanochat" else []), "auto"):
        for how, options in {"": [], " calibrated on its own samples": ["--calibrate", "self"]}.items():
            name = f"q4{how}, --rotate {rotations}"
            yield Row(name, partial(bench.ours, case, "--type", "q4", "--rotate", rotations, *options))


INTRODUCTION = """# What quantization costs

Mean Kullback-Leibler divergence from the same model in f32, in nats per token, and how often the first choice is the same. Written by
`measure_quality.py`, which says how. Peers are ggml's own quantizers as llama.cpp chooses them per tensor: rows that are no multiple of 256 fall
back from K types to Q5_0, Q5_1 and Q8_0, so "Q4_K_M, blocks across rows" lets the blocks of 256 run across the ends of rows to show the type
itself. They are measured with f32 activations; our rows with the int8 activations that they run with. Bits per weight are of all matrices,
embedding and head included, before compression, with the padding that narrow models need. Calibration texts are other stories of the demo
models' generator and the end of nanogpt_trained's held-out text, of which the beginning is measured; the samples are the model's own. minigpt
has no text that could hold its separators, so it reads its own samples only. Rows with `--rotate` quantize the same
function with other weights (`docs/models.md`); `auto` is what the converter keeps after measuring on the model's own samples.
"""


HEADER = ["| type | bits per weight | KL, mean | its standard error | KL, 99 % | same first choice |",
          "| --- | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip


@dataclass
class Part:
    """A model's part of the table."""

    scored: str = ""
    lines: dict[str, str] = field(default_factory=dict)  # by the row's name

    def bits(self, name: str) -> float | None:
        return float(self.lines[name].split("|")[2]) if name in self.lines else None

    def text(self, name: str) -> str:
        return "\n".join([f"\n## {name}\n", self.scored + "\n", *HEADER, *self.lines.values()]) + "\n"


def read_table(path: Path | None) -> dict[str, Part]:
    """What stands in the table, by model."""
    parts: dict[str, Part] = {}
    text = path.read_text() if path and path.exists() else ""
    for section in text.split("\n## ")[1:] if HEADER[0] in text else []:
        name, _, scored, _, _, _, *lines = section.splitlines()
        parts[name] = Part(scored, {line.split("|")[1].strip(): line for line in lines if line.startswith("|")})
    return parts


def measure_rows(part: Part, case: Case, rows: Iterator[Row], wanted: re.Pattern, save: Callable[[], None]) -> dict[str, str]:
    """The lines of all rows that are wanted or were measured before, in their order."""
    lines = {}
    for row in rows:
        if wanted.search(row.name):
            part.lines[row.name] = row.line()
            part.scored = case.scored
            print(case.name, part.lines[row.name], flush=True)
            save()
        if row.name in part.lines:
            lines[row.name] = part.lines[row.name]
    return lines


def main() -> None:
    here = Path(__file__).parent
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("cases", nargs="*", help="names of models; default: all")
    args.add_argument("--nibble", type=Path, required=True)
    args.add_argument("--ggml", type=Path, required=True, help="libggml-base.so")
    args.add_argument("--models", type=Path, default=here.parent / "models")
    args.add_argument("--shared", type=Path, help="folder of reference checkpoints, for nanogpt_trained")
    args.add_argument("--rows", type=re.compile, default=re.compile(""), help="expression that names of measured rows match")
    args.add_argument("--out", type=Path, help="the table, of which rows that are not measured stay; default: standard output only")
    options = args.parse_args()
    parts = read_table(options.out)

    def save() -> None:
        text = INTRODUCTION + "".join(part.text(name) for name, part in parts.items() if part.lines)
        if options.out:
            options.out.write_text(text)

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        bench = Bench(options.nibble, Ggml(options.ggml), scratch)
        for case in make_cases(options.models, options.shared, scratch):
            part = parts.setdefault(case.name, Part())
            if options.cases and case.name not in options.cases:
                continue
            lines = measure_rows(part, case, their_rows(bench, case), options.rows, save)
            for rows in (our_rows(bench, case, part.bits("Q4_K_M")), rotated_rows(bench, case)):
                lines |= measure_rows(part, case, rows, options.rows, save)
            part.lines = lines
            save()


if __name__ == "__main__":
    main()
