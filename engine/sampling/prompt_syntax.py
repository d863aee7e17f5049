"""The syntax of prompts: attention weights, BREAK, AND, prompt editing and alternation.

The syntax is that of AUTOMATIC1111's WebUI. This module knows neither tokens nor tensors: it turns a text into a tree,
and the tree into the texts that hold for each evaluation of the UNet. Where the WebUI guesses what a wrong text means,
this parser raises an error that names the place. `docs/guides/prompts.md` lists the differences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NoReturn

from engine.errors import RequestError

__all__ = ["Part", "Passage", "Prompt", "parse_prompt", "split_tags"]

EMPHASIS = 1.1
"""Weight of (x), and the inverse of the weight of [x]."""
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
TOKEN = re.compile(r"\\[()\[\]\\:|]|[()\[\]:|]|\s*\bBREAK\b\s*|\bAND\b")
WEIGHT = re.compile(rf":\s*({NUMBER})\s*\)")
LIKE_A_WEIGHT = re.compile(r":[-+.\d\s]*\)")
PART_WEIGHT = re.compile(rf"(?<!\\)\s*:\s*({NUMBER})\s*$")
CLOSING = {"(": ")", "[": "]"}
SHOWN = 12
"""Characters around a mistake that an error shows on each side."""

Passage = tuple[tuple[str, float], ...]
"""Texts with their weights, in order: what the tokens between two BREAKs stand for."""


@dataclass(frozen=True)
class _Text:
    text: str


@dataclass(frozen=True)
class _Break:
    """The end of a chunk of tokens."""


@dataclass(frozen=True)
class _Weighted:
    inner: tuple[_Node, ...]
    factor: float


@dataclass(frozen=True)
class _Edited:
    """`before` holds up to a step, `after` follows."""

    before: tuple[_Node, ...]
    after: tuple[_Node, ...]
    when: float
    fraction: bool
    """Whether `when` is a share of the evaluations, not a number of them."""

    def chosen(self, evaluation: int, evaluations: int) -> tuple[_Node, ...]:
        """Return what holds. As in the WebUI, `before` holds for evaluations 0 to N, and not at all if N is 0."""
        last = int(self.when * evaluations) if self.fraction else int(self.when)
        return self.before if max(evaluation, 1) <= last else self.after


@dataclass(frozen=True)
class _Alternating:
    options: tuple[tuple[_Node, ...], ...]

    def chosen(self, evaluation: int) -> tuple[_Node, ...]:
        """Return what holds. As in the WebUI, the first option holds for evaluations 0 and 1."""
        return self.options[(max(evaluation, 1) - 1) % len(self.options)]


_Node = _Text | _Break | _Weighted | _Edited | _Alternating


@dataclass(frozen=True)
class Part:
    """One part of a prompt between ANDs."""

    nodes: tuple[_Node, ...]
    weight: float = 1.0

    def passages(self, evaluation: int, evaluations: int) -> tuple[Passage, ...]:
        """Return what holds in one evaluation, counted from 0: a passage before, between and after the BREAKs."""
        passages: list[list[tuple[str, float]]] = [[]]
        for text, weight in _flatten(self.nodes, 1.0, evaluation, evaluations):
            if text is None:
                passages.append([])
            else:
                passages[-1].append((text, weight))
        return tuple(tuple(_merged(passage)) for passage in passages)


@dataclass(frozen=True)
class Prompt:
    """A prompt that was read: its parts between ANDs."""

    source: str
    parts: tuple[Part, ...]

    @classmethod
    def of_text(cls, text: str) -> Prompt:
        """Return a prompt in which no sign has a meaning."""
        return cls(text, (Part((_Text(text),)),))

    @property
    def plain(self) -> bool:
        """Whether the prompt is nothing but text, so that its reading changes nothing."""
        return self.source == "" or self == Prompt.of_text(self.source)

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of each part."""
        return tuple(part.weight for part in self.parts)

    @property
    def holds(self) -> bool:
        """Whether the prompt is one part of one passage that holds for all steps: text and weights alone."""
        others = _Break | _Edited | _Alternating
        return len(self.parts) == 1 and not any(isinstance(node, others) for node in _all(self.parts[0].nodes))

    def texts(self) -> tuple[str, ...]:
        """Return every piece of text, whenever it holds."""
        return tuple(node.text for part in self.parts for node in _all(part.nodes) if isinstance(node, _Text))


def _all(nodes: tuple[_Node, ...]) -> Iterator[_Node]:
    """Return the nodes and everything in them."""
    for node in nodes:
        yield node
        if isinstance(node, _Weighted):
            yield from _all(node.inner)
        elif isinstance(node, _Edited):
            yield from _all((*node.before, *node.after))
        elif isinstance(node, _Alternating):
            yield from _all(tuple(inner for option in node.options for inner in option))


def _flatten(
    nodes: tuple[_Node, ...], weight: float, evaluation: int, evaluations: int
) -> Iterator[tuple[str | None, float]]:
    """Return the texts that hold in an evaluation, with their weights. A BREAK is None."""
    for node in nodes:
        if isinstance(node, _Text):
            yield node.text, weight
        elif isinstance(node, _Break):
            yield None, weight
        elif isinstance(node, _Weighted):
            yield from _flatten(node.inner, weight * node.factor, evaluation, evaluations)
        elif isinstance(node, _Edited):
            yield from _flatten(node.chosen(evaluation, evaluations), weight, evaluation, evaluations)
        else:
            yield from _flatten(node.chosen(evaluation), weight, evaluation, evaluations)


def _merged(passage: list[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Join neighbours of equal weight, so that a word in several pieces is one word."""
    for weight, pieces in groupby(passage, key=lambda piece: piece[1]):
        if joined := "".join(text for text, _ in pieces):
            yield joined, weight


def parse_prompt(text: str, subject: str = "--prompt", *, parts: bool = True) -> Prompt:
    """Return the prompt that a text states.

    Args:
        text: The prompt as it was written.
        subject: What an error names, such as `--negative-prompt`.
        parts: Whether AND may join parts.

    Raises RequestError that names the character, counted from 1, for brackets that do not match and numbers that are
    none.
    """
    return _Parser(text, subject, parts).prompt()


def split_tags(text: str) -> list[str]:
    """Return the stripped parts of a caption between commas that are in no brackets, without empty ones."""
    tags, depth, start, escaped = [], 0, 0, False
    for place, letter in enumerate(text):
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter in "([":
            depth += 1
        elif letter in ")]":
            depth = max(0, depth - 1)
        elif letter == "," and depth == 0:
            tags.append(text[start:place])
            start = place + 1
    return [tag for part in (*tags, text[start:]) if (tag := part.strip())]


class _Parser:
    """A recursive descent over the tokens of a text."""

    def __init__(self, text: str, subject: str, parts: bool) -> None:
        self._text, self._subject, self._parts = text, subject, parts
        self._place = 0

    def prompt(self) -> Prompt:
        sequences, starts = [self._sequence()], [0]
        while self._place < len(self._text):
            if not self._parts:
                self._fail("AND", "no AND, because a negative prompt has one part", "leave AND out, or write: and")
            self._place += len("AND")
            starts.append(self._place)
            sequences.append(self._sequence())
        if len(sequences) == 1:
            return Prompt(self._text, (Part(sequences[0]),))
        ends = [start - len("AND") for start in starts[1:]] + [len(self._text)]
        written = [self._text[start:end] for start, end in zip(starts, ends, strict=True)]
        return Prompt(self._text, tuple(map(_part, sequences, written)))

    def _sequence(self, opened: int | None = None) -> tuple[_Node, ...]:
        """Read up to the end of the brackets that were opened at a place, of the part, or of the text.

        What ends the sequence is left to the caller. In square brackets also : and | do.
        """
        bracket = "" if opened is None else self._text[opened]
        nodes: list[_Node] = []
        while (token := TOKEN.search(self._text, self._place)) is not None:
            self._add_text(nodes, self._text[self._place : token.start()])
            self._place, word = token.start(), token.group()
            if word == CLOSING.get(bracket) or (bracket == "[" and word in ":|"):
                return tuple(nodes)
            if word == ":" and bracket == "(" and self._ends_weight():
                return tuple(nodes)
            if word == "AND":
                if opened is None:
                    return tuple(nodes)
                self._fail("AND in brackets", "AND between whole parts", "close the brackets before AND")
            if word in ")]":
                expected = "brackets that match"
                if opened is not None:
                    expected = f"{CLOSING[bracket]}, which closes the {bracket} at character {opened + 1}"
                self._fail(f"a {word} too many", expected, f"remove it, or write \\{word} for the sign itself")
            self._place = token.end()
            if word in "([":
                nodes.append(self._round(token.start()) if word == "(" else self._square(token.start()))
            elif "BREAK" in word:
                nodes.append(_Break())
            else:
                self._add_text(nodes, word[1:] if word[0] == "\\" else word)
        self._add_text(nodes, self._text[self._place :])
        if opened is not None:
            self._place = opened
            closing = CLOSING[bracket]
            self._fail(f"a {bracket} that is not closed", closing, f"add {closing}, or write \\{bracket} for the sign")
        self._place = len(self._text)
        return tuple(nodes)

    @staticmethod
    def _add_text(nodes: list[_Node], text: str) -> None:
        if nodes and isinstance(nodes[-1], _Text):
            nodes[-1] = _Text(nodes[-1].text + text)
        elif text:
            nodes.append(_Text(text))

    def _ends_weight(self) -> bool:
        """Return whether the colon here begins a weight. Raises RequestError for one that is no number."""
        if WEIGHT.match(self._text, self._place):
            return True
        if LIKE_A_WEIGHT.match(self._text, self._place):
            self._fail("a weight that is no number", "a number, as in (x:1.2)", "write a number after the colon")
        return False

    def _round(self, opened: int) -> _Node:
        inner = self._sequence(opened)
        weight = WEIGHT.match(self._text, self._place)
        self._place = weight.end() if weight else self._place + 1
        return _Weighted(inner, float(weight.group(1)) if weight else EMPHASIS)

    def _square(self, opened: int) -> _Node:
        items, marks = [self._sequence(opened)], ""
        while self._text[self._place] != "]":
            mark, self._place = self._place, self._place + 1
            marks += self._text[mark]
            if set(marks) == {":", "|"} or marks == ":::":
                self._place = mark
                self._fail(
                    f"a {marks[-1]} after {marks[:-1]} in the same brackets",
                    "[from:to:when], [to:when] or [one|other]",
                    f"write \\{marks[-1]} for the sign itself",
                )
            items.append(self._sequence(opened))
        self._place += 1
        if not marks:
            return _Weighted(items[0], 1 / EMPHASIS)
        if marks[0] == "|":
            return _Alternating(tuple(items))
        *texts, last = items
        return self._edited(opened, texts, last)

    def _edited(self, opened: int, texts: list[tuple[_Node, ...]], last: tuple[_Node, ...]) -> _Edited:
        word = "".join(node.text if isinstance(node, _Text) else "[" for node in last).strip()
        number = float(word) if re.fullmatch(NUMBER, word) else -1.0
        fraction = "." in word
        if number < 0 or (fraction and number > 1):
            self._place = opened
            self._fail(
                f"[...:{word}]",
                "a colon in square brackets only as in [from:to:when], where `when` is a step (8) or a share (0.4)",
                "change the number, write (x:1.3) for a weight, or \\: for the sign itself",
            )
        before, after = texts if len(texts) == 2 else ((), texts[0])
        return _Edited(before, after, number, fraction)

    def _fail(self, found: str, expected: str, fix: str) -> NoReturn:
        around = self._text[max(0, self._place - SHOWN) : self._place + SHOWN]
        raise RequestError(
            self._subject,
            found=f"{found} at character {self._place + 1}, in {around!r}",
            expected=expected,
            fix=fix,
        )


def _part(nodes: tuple[_Node, ...], written: str) -> Part:
    """Return a part between ANDs. A number after a colon at the end of what was written is its weight."""
    found = PART_WEIGHT.search(written)
    if found is None or not isinstance(nodes[-1], _Text):
        return Part(nodes)
    rest = nodes[-1].text[: -len(found.group())]
    return Part((*nodes[:-1], *([_Text(rest)] if rest else [])), float(found.group(1)))
