"""Golden references of the demo models in f32 PyTorch, written beside the checkpoints.

    python make_golden.py [--models ../models] [nanochat] [minigpt] [nanogpt]
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

import tiktoken
import torch
from torch import nn

from checkpoints import MINIGPT_HEADS, load_minigpt, load_nanochat, load_nanogpt, load_nanogpt_chars, only
from chinese import all_questions, encode
from corpus import ASSISTANT, BOS, FACTS, documents, plain_stories
from evaluate import WINDOWS, windowed_ce
from sampling import conversation_prompt, generate, visible
from stories import ask, write_story
from sums import make_sum
from tokenizer import encode_document, load_tokenizer
from tokenizer_cases import cases

HELDOUT_SEED, PROMPT_SEED = 987654, 55555
HELDOUT_STORIES, HELDOUT_QUESTIONS = 10, 150
GREEDY_TOKENS = 32
MIN_MARGIN = 0.3  # so that a quantised model still chooses the same token


def to_json(value: object, indent: str = "") -> str:
    """One line per key and per element of a list of objects; lists of plain values stay on one line."""
    deeper = indent + " "
    if isinstance(value, dict) and value:
        rows = [f"{deeper}{json.dumps(k)}: {to_json(v, deeper)}" for k, v in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(deeper + to_json(v, deeper) for v in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def write_json(path: Path, value: object) -> None:
    path.write_text(to_json(value) + "\n", encoding="utf-8")


def write_logits(model: nn.Module, folder: Path, about: dict, prompts: list[list[int]]) -> None:
    """golden.json and one file of logits rows per prompt: first, two middle and last position."""
    entries = []
    for number, ids in enumerate(prompts):
        with torch.no_grad():
            logits = model(torch.tensor([ids]))[0]
        last = len(ids) - 1
        positions = sorted({0, last // 3, 2 * last // 3, last})
        name = f"golden_p{number}.f32"
        logits[positions].numpy().astype("<f4").tofile(folder / name)
        greedy = generate(model, ids, GREEDY_TOKENS, stop=set())
        entries.append(
            {
                "ids": ids,
                "logits_file": name,
                "positions": positions,
                "vocab": logits.size(1),
                "greedy": greedy.ids,
                "greedy_margin": [round(m, 6) for m in greedy.margins],
            }
        )
    write_json(folder / "golden.json", {**about, "prompts": entries})


def write_heldout(model: nn.Module, folder: Path, text: str, ids: list[int]) -> None:
    (folder / "heldout.txt").write_text(text, encoding="utf-8")
    (folder / "heldout_ids.txt").write_text(" ".join(map(str, ids)) + "\n")
    mean_ce, predicted = windowed_ce(model, ids)
    write_json(
        folder / "heldout_ce.json",
        {"windows": WINDOWS, "context": model.context, "n": len(ids), "predicted": predicted, "mean_ce": mean_ce, "ids": ids},
    )


def chat_case(model: nn.Module, encoding: tiktoken.Encoding, turns: list[str]) -> dict | None:
    """The greedy reply to the last turn, or None where a choice was too close."""
    prompt = conversation_prompt(encoding, turns)
    reply = generate(model, prompt, 300, {encoding.encode_single_token(ASSISTANT[1])}, encoding=encoding)
    chosen = [m for m in reply.margins if m is not None]
    if not reply.finished or min(chosen) <= MIN_MARGIN:
        return None
    return {
        "turns": turns,
        "prompt_ids": prompt,
        "reply_ids": reply.ids,
        "mask": [int(m is not None) for m in reply.margins[: len(reply.ids)]],
        "text": visible(encoding, reply.ids),
        "min_margin": round(min(chosen), 4),
    }


def chat_turns(rng: random.Random) -> Iterator[list[str]]:
    """Facts, sums, questions about a told story, requests for stories, a second question after a first."""
    topics = sorted({fact.topic for fact in FACTS})
    for topic in topics:
        for fact in rng.sample([f for f in FACTS if f.topic == topic], 4):
            yield [rng.choice(fact.questions)]
    for _ in range(40):
        yield [make_sum(rng, heldout=True).question]
    yield from (["What is 7 / 0?"], ["What is 1 / 3?"], ["What is 999 * 999?"], ["What is 3 - 10?"])
    for _ in range(12):
        text, plot, facts = write_story(rng)
        question, _ = rng.choice(ask(rng, plot, facts))
        yield [f"Tell me a story about {facts['hero']}.", text, question]
        fact = rng.choice(FACTS)
        yield [fact.questions[0], fact.answer, make_sum(rng, heldout=True).question]
        yield ["Answer briefly.\n\n" + make_sum(rng, heldout=True).question]


def nanochat(folder: Path) -> None:
    model, encoding = load_nanochat(folder), load_tokenizer(folder / "tokenizer.pkl")
    rng = random.Random(PROMPT_SEED)
    story = [encoding.encode_single_token(BOS), *encoding.encode_ordinary(plain_stories(rng, 2))]
    stream = documents(PROMPT_SEED)
    talk: list[int] = []
    while len(talk) < model.context:
        talk += encode_document(encoding, next(stream))[0]
    about = {"case": "nanochat", "checkpoint": only(folder, "model_*.pt").name, "tokenizer": "tokenizer.pkl", "set": {}}
    write_logits(model, folder, about, [story[:1], story[:17], talk[:101], talk[: model.context - 40]])

    text = plain_stories(random.Random(HELDOUT_SEED), HELDOUT_STORIES)
    write_heldout(model, folder, text, encoding.encode_ordinary(text))
    tests = [{"text": t, "ids": encoding.encode_ordinary(t)} for t in cases()]
    write_json(folder / "tokenizer_tests.json", {"what": "encode_ordinary of tiktoken", "n": len(tests), "tests": tests})
    chats = [c for c in (chat_case(model, encoding, t) for t in chat_turns(rng)) if c]
    what = (
        "greedy replies with the calculator in the loop; turns alternate user and assistant; reply_ids end before "
        f"assistant_end; mask 0 = forced by the engine; every chosen token leads by more than {MIN_MARGIN} in logits"
    )
    write_json(folder / "chat_tests.json", {"what": what, "n": len(chats), "tests": chats})


def minigpt(folder: Path) -> None:
    model, word2id = load_minigpt(folder)
    rng = random.Random(PROMPT_SEED)
    sep = word2id["<sep>"]

    def talk(pairs: list[tuple[str, str]]) -> list[int]:
        return [i for pair in pairs for part in pair for i in (*encode(part, word2id), sep)]

    ids = talk(rng.choices(all_questions(), k=30))
    about = {"case": "minigpt", "checkpoint": "best_model.pth", "tokenizer": "vocab.json", "set": {"n_head": str(MINIGPT_HEADS)}}
    write_logits(model, folder, about, [ids[:1], ids[:17], ids[:60], ids[: model.context - 40]])

    pairs = random.Random(HELDOUT_SEED).choices(all_questions(), k=HELDOUT_QUESTIONS)
    write_heldout(model, folder, "".join(f"{q}\t{a}\n" for q, a in pairs), talk(pairs))
    tests = []
    for question, _ in rng.sample(all_questions(), 80):
        prompt = [*encode(question, word2id), sep]
        reply = generate(model, prompt, 60, {sep})
        if reply.finished and min(reply.margins) > MIN_MARGIN:
            text = "".join(list(word2id)[i] for i in reply.ids)
            tests.append({"question": question, "prompt_ids": prompt, "reply_ids": reply.ids, "text": text, "min_margin": round(min(reply.margins), 4)})
    what = f"greedy answers up to <sep>; every token leads by more than {MIN_MARGIN} in logits"
    write_json(folder / "chat_tests.json", {"what": what, "n": len(tests), "tests": tests})


def nanogpt(folder: Path) -> None:
    model, stoi = load_nanogpt(folder), load_nanogpt_chars(folder)
    rng = random.Random(PROMPT_SEED)
    ids = [stoi[c] for c in "\n\n" + plain_stories(rng, 3)]
    about = {"case": "nanogpt", "checkpoint": "ckpt.pt", "tokenizer": "meta.pkl", "set": {}}
    write_logits(model, folder, about, [ids[:1], ids[:17], ids[:100], ids[: model.context - 40]])
    text = plain_stories(random.Random(HELDOUT_SEED), HELDOUT_STORIES)
    write_heldout(model, folder, text, [stoi[c] for c in text])


def main() -> None:
    makers = {"nanochat": nanochat, "minigpt": minigpt, "nanogpt": nanogpt}
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("cases", nargs="*", choices=[*makers, []], default=list(makers))
    args.add_argument("--models", type=Path, default=Path(__file__).parent.parent / "models")
    options = args.parse_args()
    torch.set_num_threads(1)
    for case in options.cases:
        makers[case](options.models / case)


if __name__ == "__main__":
    main()
