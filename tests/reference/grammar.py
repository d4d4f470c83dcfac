"""Templates with variables: one description both writes texts and recognises them.

A text is a list of slots, a slot a list of alternative templates ("" makes it optional), a template a string with
`{variable}` fields. The first use of a variable draws its value from its domain, every later use repeats it, so a text
is consistent by construction - and a text that the recogniser accepts is consistent as well.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

Bindings = dict[str, str]
Domain = Callable[[Bindings], Sequence[str]]
Slot = Sequence[str]

_FIELD = re.compile(r"\{(\w+)\}")


class Unbound(Exception):
    """A domain needs a variable that has no value yet."""


class Scope(dict):
    """Bindings that a domain reads; asking for a variable without a value raises Unbound."""

    def __missing__(self, key: str) -> str:
        raise Unbound(key)


def choices(*values: str) -> Domain:
    return lambda b: values


def derived(parent: str, table: Mapping[str, str | Sequence[str]]) -> Domain:
    """The values that belong to the value of `parent`."""

    def domain(b: Bindings) -> Sequence[str]:
        value = table[b[parent]]
        return (value,) if isinstance(value, str) else value

    return domain


def other_than(values: Sequence[str] | Domain, *taken: str) -> Domain:
    """The values that none of the variables `taken` has so far."""

    def domain(b: Bindings) -> Sequence[str]:
        pool = values(b) if callable(values) else values
        return [v for v in pool if all(b.get(t) != v for t in taken)]

    return domain


class Grammar:
    """Domains of the variables; the slots are given with each call."""

    def __init__(self, domains: Mapping[str, Domain]):
        self.domains = domains

    def value(self, name: str, b: Bindings, rng: random.Random) -> str:
        if name not in b:
            try:
                b[name] = rng.choice(list(self.domains[name](Scope(b))))
            except Unbound as missing:
                self.value(missing.args[0], b, rng)
                return self.value(name, b, rng)
        return b[name]

    def fill(self, template: str, b: Bindings, rng: random.Random) -> str:
        return _FIELD.sub(lambda m: self.value(m[1], b, rng), template)

    def write(self, slots: Sequence[Slot], b: Bindings, rng: random.Random) -> str:
        """One text of the slots joined by blanks; b is extended by the drawn values."""
        parts = [self.fill(rng.choice(slot), b, rng) for slot in slots]
        return " ".join(p for p in parts if p)

    def match(self, slots: Sequence[Slot], text: str, b: Bindings | None = None) -> Bindings | None:
        """The bindings under which the slots give exactly `text`, or None."""
        return next(self._match_slots(slots, text, dict(b or {}), first=True), None)

    def _match_slots(self, slots: Sequence[Slot], text: str, b: Bindings, first: bool) -> Iterator[Bindings]:
        if not slots:
            if not text:
                yield b
            return
        for template in slots[0]:
            if not template:
                yield from self._match_slots(slots[1:], text, b, first)
                continue
            if not first and not text.startswith(" "):
                continue
            for rest, bound in self._match_template(template, text if first else text[1:], b):
                yield from self._match_slots(slots[1:], rest, bound, False)

    def _match_template(self, template: str, text: str, b: Bindings) -> Iterator[tuple[str, Bindings]]:
        field = _FIELD.search(template)
        literal = template[: field.start()] if field else template
        if not text.startswith(literal):
            return
        text = text[len(literal) :]
        if field is None:
            yield text, b
            return
        for value, bound in self._candidates(field[1], b):
            if text.startswith(value):
                yield from self._match_template(template[field.end() :], text[len(value) :], bound)

    def _candidates(self, name: str, b: Bindings) -> Iterator[tuple[str, Bindings]]:
        """Possible values of a variable with the bindings each implies, binding what its domain depends on first."""
        if name in b:
            yield b[name], b
            return
        try:
            values = self.domains[name](Scope(b))
        except Unbound as missing:
            for parent, bound in self._candidates(missing.args[0], b):
                yield from self._candidates(name, {**bound, missing.args[0]: parent})
            return
        for value in values:
            yield value, {**b, name: value}
