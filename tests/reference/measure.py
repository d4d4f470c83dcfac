"""How right the demo models are: every fact, held-out sums, and sampled stories checked by their grammar.

    python measure.py nanochat|minigpt|nanogpt [--models ../models] [--stories 50] [--show 3]
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import tiktoken
import torch
from torch import nn

from checkpoints import load_minigpt, load_nanochat, load_nanogpt, load_nanogpt_chars
from chinese import all_questions, encode
from corpus import ASSISTANT, FACTS, Document, calculator_reply, conversation, said, sum_turn
from sampling import conversation_prompt, generate, next_logits, visible
from stories import NAMES, ask, read_story
from tokenizer import encode_document, load_tokenizer


Sequence = tuple[list[int], list[bool]]  # ids, and which of them the model must give


@torch.no_grad()
def answers_greedily(model: nn.Module, sequences: list[Sequence], batch: int = 64) -> list[bool]:
    """Whether greedy decoding gives exactly the marked ids: each is the argmax after the right ones before it."""
    right = []
    for start in range(0, len(sequences), batch):
        part = sequences[start : start + batch]
        length = max(len(ids) for ids, _ in part)
        best = model(torch.tensor([ids + [0] * (length - len(ids)) for ids, _ in part])).argmax(-1).tolist()
        right += [all(b == i for b, i, m in zip(row, ids[1:], marked[1:]) if m) for row, (ids, marked) in zip(best, part)]
    return right


def table(title: str, results: Iterable[tuple[str, bool]]) -> None:
    """Print right / asked by topic and in total."""
    asked, right = Counter(), Counter()
    for topic, ok in results:
        asked[topic] += 1
        right[topic] += ok
    print(f"{title}: {right.total()} of {asked.total()} ({100 * right.total() / asked.total():.2f} %)")
    for topic in asked:
        print(f"    {topic:10} {right[topic]:4} of {asked[topic]}")


def conversation_results(
    model: nn.Module, encoding: tiktoken.Encoding, cases: Iterable[tuple[str, str, Document]]
) -> Iterable[tuple[str, bool]]:
    """(topic, right) of one-turn conversations; wrong replies are printed."""
    stop = {encoding.encode_single_token(ASSISTANT[1])}
    cases = list(cases)
    results = answers_greedily(model, [encode_document(encoding, conversation([(q, reply)])) for _, q, reply in cases])
    for (topic, question, _), ok in zip(cases, results):
        if not ok:
            got = generate(model, conversation_prompt(encoding, [question]), 60, stop, encoding=encoding)
            print(f"    wrong: {question!r} -> {encoding.decode(got.ids)!r}")
        yield topic, ok


def story_results(model: nn.Module, encoding: tiktoken.Encoding, count: int, show: int) -> Iterable[tuple[str, bool]]:
    """Stories on request at temperature 0.7, then every question about them, answered greedily."""
    rng, generator = random.Random(5), torch.Generator().manual_seed(5)
    stop = {encoding.encode_single_token(ASSISTANT[1])}
    for i in range(count):
        hero = rng.choice(NAMES)
        request = f"Tell me a story about {hero}."
        prompt = conversation_prompt(encoding, [request])
        reply = generate(model, prompt, 400, stop, encoding=encoding, temperature=0.7, generator=generator)
        text = visible(encoding, reply.ids)
        story = read_story(text)
        yield "consistent", story is not None
        yield "hero", hero in text
        if i < show or story is None:
            print(f"    [{'ok' if story else 'NOT CONSISTENT'}] {text}")
        for question, answer in ask(rng, *story) if story else []:
            told = conversation([(request, said(text))])
            ids, is_answer = encode_document(encoding, told + conversation([(question, said(answer))])[1:])
            first = len(encode_document(encoding, told)[0])
            yield "follow-up", answers_greedily(model, [(ids, [False] * first + is_answer[first:])])[0]


def measure_nanochat(folder: Path, stories: int, show: int) -> None:
    model, encoding = load_nanochat(folder), load_tokenizer(folder / "tokenizer.pkl")
    facts = [(fact.topic, question, said(fact.answer)) for fact in FACTS for question in fact.questions]
    table("facts", conversation_results(model, encoding, facts))
    table("held-out sums", conversation_results(model, encoding, heldout_sums(200)))
    table("stories", story_results(model, encoding, stories, show))


def heldout_sums(count: int) -> Iterable[tuple[str, str, Document]]:
    rng = random.Random(6)
    for _ in range(count):
        question, reply = sum_turn(rng, heldout=True)
        yield "sums", question, reply


def measure_minigpt(folder: Path) -> None:
    model, word2id = load_minigpt(folder)
    questions, sequences = all_questions(), []
    for question, answer in questions:
        prompt = [*encode(question, word2id), word2id["<sep>"]]
        ids = [*prompt, *encode(answer, word2id), word2id["<sep>"]]
        sequences.append((ids, [i >= len(prompt) for i in range(len(ids))]))
    right = answers_greedily(model, sequences)
    for (question, _), ok in zip(questions, right):
        if not ok:
            print(f"    wrong: {question}")
    results = [("questions", ok) for ok in right]
    table("facts", results)


def measure_nanogpt(folder: Path, stories: int, show: int) -> None:
    """Stories from a blank line on at temperature 0.7, with the context cut to the block size as nanoGPT does."""
    model, stoi = load_nanogpt(folder), load_nanogpt_chars(folder)
    itos = {i: c for c, i in stoi.items()}
    generator = torch.Generator().manual_seed(5)
    results = []
    for i in range(stories):
        text = "\n\n"
        while len(text) < 1000 and not (len(text) > 2 and text.endswith("\n")):
            logits = next_logits(model, [stoi[c] for c in text[-model.context :]])
            text += itos[int(torch.multinomial((logits / 0.7).softmax(-1), 1, generator=generator))]
        text = text.strip()
        story = read_story(text)
        results.append(("consistent", story is not None))
        if i < show or story is None:
            print(f"    [{'ok' if story else 'NOT CONSISTENT'}] {text}")
    table("stories", results)


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("model", choices=("nanochat", "minigpt", "nanogpt"))
    args.add_argument("--models", type=Path, default=Path(__file__).parent.parent / "models")
    args.add_argument("--stories", type=int, default=50)
    args.add_argument("--show", type=int, default=3)
    options = args.parse_args()
    torch.set_num_threads(2)
    folder = options.models / options.model
    if options.model == "nanochat":
        measure_nanochat(folder, options.stories, options.show)
    elif options.model == "minigpt":
        measure_minigpt(folder)
    else:
        measure_nanogpt(folder, options.stories, options.show)


if __name__ == "__main__":
    main()
