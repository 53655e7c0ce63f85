"""Spelling correction from any text: characters, some of them replaced (Bahdanau et al. 2017; Leblond et al. 2018)."""

import string
from typing import NamedTuple

import torch

SPACE = "_"  # how the space is written, which separates tokens
ALPHABET = string.ascii_lowercase + string.digits + SPACE + ".,'-?!"  # 43 characters


class Pair(NamedTuple):
    """A piece of text; its tokens are characters of `ALPHABET`."""

    corrupted: str
    correct: str


def pieces(line: str, length: int, most: int) -> list[str]:
    """At most `most` consecutive pieces of `length` characters; a last one that is shorter only if it is the first.

    The line is lower-cased, runs of spaces become one, and what is not in `ALPHABET` is left out.
    """
    words = ("".join(c for c in word if c in ALPHABET and c != SPACE) for word in line.lower().split())
    text = SPACE.join(word for word in words if word)
    whole = [text[i : i + length] for i in range(0, len(text) - length + 1, length)]
    return (whole or [text])[:most] if text else []


def corrupt(text: str, probability: float, draws: torch.Generator) -> str:
    """Each character is replaced with this probability, by one drawn evenly from `ALPHABET` (it may be the same)."""
    replaced = (torch.rand(len(text), generator=draws) < probability).tolist()
    others = torch.randint(len(ALPHABET), (len(text),), generator=draws).tolist()
    return "".join(ALPHABET[o] if r else c for c, r, o in zip(text, replaced, others, strict=True))
