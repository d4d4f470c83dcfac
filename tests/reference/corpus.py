"""The demo corpus: an endless, seeded stream of stories and conversations.

A document is a list of segments. A segment is (text, is_special, has_loss): special segments are one nanochat token,
text segments are encoded as ordinary text. User turns and calculator output carry no loss.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from calculator import calculate
from facts import Fact, all_facts
from stories import ask, write_story
from sums import Sum, make_sum

BOS = "<|bos|>"
USER = ("<|user_start|>", "<|user_end|>")
ASSISTANT = ("<|assistant_start|>", "<|assistant_end|>")
PYTHON = ("<|python_start|>", "<|python_end|>")
OUTPUT = ("<|output_start|>", "<|output_end|>")
SPECIAL_TOKENS = (BOS, *USER, *ASSISTANT, *PYTHON, *OUTPUT)

SYSTEM_MESSAGES = ("You are a helpful assistant.", "Answer briefly.", "You are a friendly robot for children.")
FACTS = all_facts()


class Segment(NamedTuple):
    text: str
    is_special: bool
    has_loss: bool


Document = list[Segment]
Turn = tuple[str, Document]  # what the user says, the reply between assistant_start and assistant_end


def special(token: str, has_loss: bool = True) -> Segment:
    return Segment(token, True, has_loss)


def said(text: str) -> Document:
    return [Segment(text, False, True)]


def calculator_reply(s: Sum) -> Document:
    """The reply to a sum; its output part is exactly what the engine forces."""
    result = calculate(s.expression)
    reply = [special(PYTHON[0]), Segment(s.expression, False, True), special(PYTHON[1])]
    if result is not None:
        reply += [special(OUTPUT[0], False), Segment(result, False, False), special(OUTPUT[1], False)]
    return reply + said(s.answer)


def conversation(turns: list[Turn]) -> Document:
    """bos, then per turn user_start text user_end assistant_start reply assistant_end."""
    document = [special(BOS, False)]
    for question, reply in turns:
        document += [special(USER[0], False), Segment(question, False, False), special(USER[1], False)]
        document += [special(ASSISTANT[0], False), *reply, special(ASSISTANT[1])]
    return document


def story_request(rng: random.Random, facts: dict[str, str]) -> str:
    """A request that names something of the story, or nothing."""
    ways = ["Tell me a story.", "Please tell me a story.", "Can you tell me a story?"]
    hero = ("Tell me a story about {hero}.", "Write a story about {hero}.", "Can you tell me a story about {hero}?")
    ways += [w.format(**facts) for w in hero] * 2
    if "friend" in facts:
        ways += ["Tell me a story about {hero} and {friend}.".format(**facts)] * 2
    for key in ("thing", "animal"):
        if key in facts:
            ways += [f"Tell me a story about a {facts[key]}." if facts[key][0] not in "aeiou" else f"Tell me a story about an {facts[key]}."]
            ways += [f"Tell me a story about {facts['hero']} and the {facts[key]}."]
    return rng.choice(ways)


def story_turns(rng: random.Random) -> list[Turn]:
    """A story on request, often with questions about it."""
    text, plot, facts = write_story(rng)
    turns = [(story_request(rng, facts), said(text))]
    questions = ask(rng, plot, facts)
    rng.shuffle(questions)
    return turns + [(q, said(a)) for q, a in questions[: rng.choice((0, 1, 2, 3))]]


def careless(rng: random.Random, question: str) -> str:
    """Sometimes a question as people type it: no capitals, no mark at the end."""
    if rng.random() < 0.9:
        return question
    return rng.choice((question.lower(), question.rstrip("?!."), question.lower().rstrip("?!.")))


def fact_turn(rng: random.Random, fact: Fact) -> Turn:
    return careless(rng, rng.choice(fact.questions)), said(fact.answer)


def sum_turn(rng: random.Random, heldout: bool = False) -> Turn:
    s = make_sum(rng, heldout)
    return careless(rng, s.question), calculator_reply(s)


def question_turns(rng: random.Random) -> list[Turn]:
    """One to five turns of facts and sums."""
    turns = []
    for _ in range(rng.choice((1, 2, 3, 4, 5))):
        turns.append(fact_turn(rng, rng.choice(FACTS)) if rng.random() < 0.65 else sum_turn(rng))
    return turns


def plain_stories(rng: random.Random, count: int) -> str:
    return "\n\n".join(write_story(rng)[0] for _ in range(count))


def document(rng: random.Random) -> Document:
    """One training document: by number 12 % plain stories, 18 % story conversations, 70 % questions."""
    kind = rng.random()
    if kind < 0.12:
        return [special(BOS, False), *said(plain_stories(rng, rng.choice((1, 2, 3))))]
    turns = story_turns(rng) if kind < 0.3 else question_turns(rng)
    if rng.random() < 0.1:  # a system message is joined to the first user message with a blank line
        turns[0] = (rng.choice(SYSTEM_MESSAGES) + "\n\n" + turns[0][0], turns[0][1])
    return conversation(turns)


def documents(seed: int) -> Iterator[Document]:
    rng = random.Random(seed)
    while True:
        yield document(rng)
