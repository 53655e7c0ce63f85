"""Spelling correction from any text: characters, some of them replaced (Bahdanau et al. 2017; Leblond et al. 2018)."""

import hashlib
import string
from typing import NamedTuple

import torch

SPACE = "_"  # how the space is written, which separates tokens
ALPHABET = string.ascii_lowercase + string.digits + SPACE + ".,'-?!"  # 43 characters


class Pair(NamedTuple):
    """A piece of text; its tokens are characters of `ALPHABET`."""

    corrupted: str
    correct: str


def pieces(line: str, length: int, most: int, draws: torch.Generator) -> list[str]:
    """At most `most` pieces of `length` characters, cut at random places, none of which overlap; in their order.

    Every set of places is as likely as any other. A line that is shorter than one piece gives itself. The line is
    lower-cased, runs of spaces become one, and what is not in `ALPHABET` is left out.
    """
    words = ("".join(c for c in word if c in ALPHABET and c != SPACE) for word in line.lower().split())
    text = SPACE.join(word for word in words if word)
    if len(text) < length:
        return [text] if text else []
    count = min(most, len(text) // length)
    spare = len(text) - count * length  # characters outside of the pieces
    # Places of `count` bars among `spare` stars: each choice of places once.
    bars = torch.randperm(spare + count, generator=draws)[:count].sort().values.tolist()
    starts = [bar + i * (length - 1) for i, bar in enumerate(bars)]
    return [text[start : start + length] for start in starts]


def split_of(piece: str, every: int, seed: int) -> str:
    """The split that a piece belongs to, wherever it stands: one different piece in `every` is for validation.

    As many are for the test. So no piece is in two splits.
    """
    digest = hashlib.blake2b(f"{seed} {piece}".encode(), digest_size=8).digest()
    return {0: "valid", 1: "test"}.get(int.from_bytes(digest) % every, "train")


def corrupt(text: str, probability: float, draws: torch.Generator) -> str:
    """Each character is replaced with this probability, by one drawn evenly from `ALPHABET` (it may be the same)."""
    replaced = (torch.rand(len(text), generator=draws) < probability).tolist()
    others = torch.randint(len(ALPHABET), (len(text),), generator=draws).tolist()
    return "".join(ALPHABET[o] if r else c for c, r, o in zip(text, replaced, others, strict=True))
