"""Arithmetic questions, each answered through the calculator."""

from __future__ import annotations

import random
from dataclasses import dataclass

from calculator import calculate, spoken
from stories import FOODS, GIRLS, NAMES

OPERATORS = {"+": ("plus",), "-": ("minus",), "*": ("times", "multiplied by"), "/": ("divided by",)}
ASK = ("What is {}?", "What is {}?", "How much is {}?", "Calculate {}.", "{}", "{} = ?", "Can you tell me what {} is?")
OBJECTS = FOODS + ("balls", "books", "eggs", "coins", "stones", "shells")


@dataclass(frozen=True)
class Sum:
    question: str
    expression: str
    answer: str


def is_heldout(expression: str) -> bool:
    """One expression in twenty is never trained on."""
    return sum((i + 7) * ord(c) for i, c in enumerate(expression)) % 20 == 0


def _number(rng: random.Random) -> int:
    return rng.randrange(10 ** rng.choice((1, 2, 2, 3, 3)))


def _operands(rng: random.Random, op: str) -> tuple[int, int]:
    a, b = _number(rng), _number(rng)
    if op == "/" and rng.random() < 0.6:  # mostly divisions without remainder
        b = rng.randrange(1, 10 ** rng.choice((1, 1, 2)))
        a = b * rng.randrange(1, 1 + 999 // b)
    return a, b


def _plain(rng: random.Random) -> Sum:
    op = rng.choice("+-*/")
    a, b = _operands(rng, op)
    if op == "/" and rng.random() < 0.03:
        b = 0
    tight = f"{a}{op}{b}"
    shape = rng.random()
    if shape < 0.3:
        question = rng.choice(ASK).format(f"{a} {rng.choice(OPERATORS[op])} {b}")
    else:
        question = rng.choice(ASK).format(f"{a} {op} {b}" if shape < 0.85 else tight)
    result = calculate(tight)
    answer = "I cannot divide by zero." if result is None else f"{a} {op} {b} is {spoken(result)}."
    return Sum(question, tight, answer)


def _triple(rng: random.Random) -> Sum:
    a, b, c = (_number(rng) for _ in range(3))
    p, q = rng.choice("+-*"), rng.choice("+-*")
    wide = rng.choice((f"{a} {p} {b} {q} {c}", f"({a} {p} {b}) {q} {c}", f"{a} {p} ({b} {q} {c})"))
    tight = wide.replace(" ", "")
    return Sum(rng.choice(ASK[:4]).format(wide), tight, f"{wide} is {calculate(tight)}.")


def _told(rng: random.Random) -> Sum:
    """A small word problem."""
    name, things = rng.choice(NAMES), rng.choice(OBJECTS)
    a, b = _number(rng), _number(rng)
    he = "she" if name in GIRLS else "he"
    match rng.randrange(3):
        case 0:
            verb = rng.choice(("gets", "finds", "buys"))
            question = f"{name} has {a} {things} and {verb} {b} more. How many {things} does {he} have now?"
            expression, answer = f"{a}+{b}", f"{name} has {a + b} {things} now."
        case 1:
            a, b = max(a, b), min(a, b)
            verb = rng.choice(("gives away", "loses", "sells"))
            question = f"{name} has {a} {things} and {verb} {b} of them. How many {things} are left?"
            expression, answer = f"{a}-{b}", f"{name} has {a - b} {things} left."
        case _:
            question = f"There are {a} boxes with {b} {things} in each box. How many {things} are there?"
            expression, answer = f"{a}*{b}", f"There are {a * b} {things}."
    return Sum(question, expression, answer)


def make_sum(rng: random.Random, heldout: bool = False) -> Sum:
    """A random question from the trained or from the held-out part."""
    while True:
        kind = rng.random()
        made = _plain(rng) if kind < 0.7 else _told(rng) if kind < 0.9 else _triple(rng)
        if is_heldout(made.expression) == heldout:
            return made
