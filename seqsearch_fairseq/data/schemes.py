"""Chunk labels in the schemes that corpora ship: which one a corpus has, and from one to another.

    IOB1    I-X; B-X only where a chunk follows one of its own type directly
    IOB2    the first label of a chunk is B-X, the others are I-X (BIO)
    BIOES   B-X I-X E-X, and S-X for a chunk of one word
    BILOU   the same, with L for E and U for S

`O` is outside of any chunk. A type may hold hyphens (`B-GPE-PART` is of type `GPE-PART`).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from seqsearch_fairseq.data.files import FormatError

IOB1, IOB2, BIOES, BILOU = "iob1", "iob2", "bioes", "bilou"
SCHEMES = (IOB1, IOB2, BIOES, BILOU)
OUTSIDE = "O"
PREFIXES = "BIESLU"
LAST_AND_ONLY = {BIOES: ("E", "S"), BILOU: ("L", "U")}  # prefixes of a chunk's last label, and of its only one
TO_BIOES = {"L": "E", "U": "S"}  # the letters of BILOU
OTHER_PREFIX = re.compile(r"[A-Za-z][-_](.+)")  # what looks like a chunk label, and is none
RULE = f"a chunk label must be O, or one of {', '.join(PREFIXES)} with - and a type"
TOLERANCE = 100  # of this many labels that are not O, one may break the scheme of the others

Where = Callable[[int], str]  # names the place of a sentence's label, by its position, in messages


def _somewhere(position: int) -> str:
    return f"label {position + 1}"


class Chunk(NamedTuple):
    kind: str
    begin: int  # its first word
    end: int  # the word after its last


class Odd(NamedTuple):
    """Labels that break a rule."""

    number: int
    first: str  # where the first one is


class Found(NamedTuple):
    """What the labels of a corpus are."""

    scheme: str | None  # None: not of chunks
    notes: list[str]  # what the user should know, a line each


class SchemeDetector:
    """Which scheme the labels of a corpus keep to, sentence by sentence.

    They are chunk labels if all but a few are `O`, or `B-`, `I-`, `E-`, `S-`, `L-` or `U-` with a type. Their scheme is
    the one that all but a few keep to: at most one label in `TOLERANCE`, of those that are not `O`, may break it.
    """

    def __init__(self):
        self.inside = 0  # labels that are not O
        self.chunk_like = 0  # those of them with a prefix and a type
        self.kinds: set[str] = set()  # their types
        self.other: dict[str, Odd] = {}  # the others -> how often, and where first
        self.breaks: dict[str, Odd] = {}  # scheme -> labels that it would write in another way

    def add(self, labels: Sequence[str], where: Where) -> None:
        """Look at one sentence."""
        like = [label == OUTSIDE or is_chunk_label(label) for label in labels]
        for position, (label, is_like) in enumerate(zip(labels, like, strict=True)):
            if not is_like:
                count, first = self.other.get(label, (0, None))
                self.other[label] = Odd(count + 1, first or where(position))
            elif label != OUTSIDE:
                self.kinds.add(label[2:])
        inside = sum(label != OUTSIDE for label in labels)
        self.inside += inside
        self.chunk_like += inside - like.count(False)
        if all(like) and inside:
            self._compare(labels, where)

    def _compare(self, labels: Sequence[str], where: Where) -> None:
        chunks = decode(labels, where)
        for scheme in SCHEMES:
            pairs = zip(labels, encode(chunks, len(labels), scheme), strict=True)
            differing = [position for position, (label, right) in enumerate(pairs) if label != right]
            if differing:
                count, first = self.breaks.get(scheme, (0, None))
                self.breaks[scheme] = Odd(count + len(differing), first or where(differing[0]))

    @property
    def candidates(self) -> list[str]:
        """The schemes that no label breaks, of chunk labels; in the order in which one is chosen."""
        if self.chunk_like == 0 or self.other:
            return []
        return [scheme for scheme in (IOB2, IOB1, BIOES, BILOU) if scheme not in self.breaks]

    def found(self, name: str) -> Found:
        """What the labels of all sentences so far are. IOB2 where they are IOB1 as well.

        Raises:
            FormatError: they are of no scheme, or of several.
        """
        if self.chunk_like == 0 or self._are_plain():
            return Found(None, self._notes_on_plain())
        if self.other:
            label, odd = next(iter(self.other.items()))
            raise FormatError(
                f"{odd.first}: {RULE}, got {label!r}; {name} holds {self.chunk_like} such labels and {self._others()} "
                "others. --scheme none takes the labels as they are"
            )
        scheme = min((IOB2, IOB1, BIOES, BILOU), key=lambda scheme: self.breaks.get(scheme, Odd(0, "")).number)
        if scheme not in self.breaks:
            return Found(scheme, [])
        odd = self.breaks[scheme]
        if odd.number * TOLERANCE > self.inside:
            broken = "; ".join(f"{scheme} {odd.number}, first at {odd.first}" for scheme, odd in self.breaks.items())
            raise FormatError(
                f"{name} mixes schemes of chunk labels, or keeps to none: of {self.inside} labels that are not O, "
                f"these break each scheme: {broken}. --scheme none takes the labels as they are, and a scheme's name "
                "converts them"
            )
        note = f"{odd.number} of {self.inside} labels that are not O break {scheme}, first at {odd.first}"
        return Found(scheme, [f"{note}; they are left as they are (--scheme {scheme} would convert them)"])

    def _others(self) -> int:
        return sum(odd.number for odd in self.other.values())

    def _are_plain(self) -> bool:
        """Whether most labels have no prefix, and no letter is a prefix that is not known."""
        types = {match[1] for label in self.other if (match := OTHER_PREFIX.fullmatch(label))}
        return self._others() >= self.chunk_like and not types & self.kinds

    def _notes_on_plain(self) -> list[str]:
        """Labels that may have been meant for chunk labels."""
        notes = []
        if self.chunk_like:
            notes.append(f"{self.chunk_like} labels look like chunk labels, and {self._others()} do not")
        prefixed = {label: odd for label, odd in self.other.items() if OTHER_PREFIX.fullmatch(label)}
        if prefixed and len(prefixed) == len(self.other):
            label, odd = next(iter(prefixed.items()))
            notes.append(
                f"{label!r} ({odd.first}) looks like a chunk label, but the prefixes are {', '.join(PREFIXES)}"
            )
        return [f"the labels are taken as plain tags: {note}" for note in notes]


def keeps_to(scheme: str, labels: Sequence[str], where: Where = _somewhere) -> bool:
    """Whether a sentence is what `encode` would write in this scheme."""
    return encode(decode(labels, where), len(labels), scheme) == list(labels)


def convert(labels: Sequence[str], scheme: str, where: Where = _somewhere) -> list[str]:
    """The same chunks in another scheme."""
    return encode(decode(labels, where), len(labels), scheme)


def decode(labels: Iterable[str], where: Where = _somewhere) -> list[Chunk]:
    """The chunks of a sentence, as conlleval finds them in any of the schemes.

    A chunk begins at B and S, and at I and E after another type, O, E or S; it ends after E and S. L is E, and U is S.

    Raises:
        FormatError: a label that is of no scheme.
    """
    chunks: list[Chunk] = []
    open_kind, begin, position = "", 0, -1
    for position, label in enumerate(labels):
        prefix, kind = parts(label, position, where)
        if open_kind and (prefix in ("O", "B", "S") or kind != open_kind):
            chunks.append(Chunk(open_kind, begin, position))
            open_kind = ""
        if prefix != OUTSIDE and not open_kind:
            open_kind, begin = kind, position
        if prefix in ("E", "S"):
            chunks.append(Chunk(open_kind, begin, position + 1))
            open_kind = ""
    if open_kind:
        chunks.append(Chunk(open_kind, begin, position + 1))
    return chunks


def encode(chunks: Iterable[Chunk], length: int, scheme: str) -> list[str]:
    """The labels of a sentence of `length` words."""
    if scheme not in SCHEMES:
        raise ValueError(f"`scheme` must be one of {', '.join(SCHEMES)}, got {scheme}")
    labels = [OUTSIDE] * length
    last = Chunk("", -1, -1)
    for chunk in chunks:
        prefixes = ["I"] * (chunk.end - chunk.begin)
        if scheme != IOB1 or (last.end == chunk.begin and last.kind == chunk.kind):
            prefixes[0] = "B"
        if scheme in LAST_AND_ONLY:
            last_prefix, only = LAST_AND_ONLY[scheme]
            prefixes[-1] = last_prefix if len(prefixes) > 1 else only
        labels[chunk.begin : chunk.end] = [f"{prefix}-{chunk.kind}" for prefix in prefixes]
        last = chunk
    return labels


def parts(label: str, position: int = 0, where: Where = _somewhere) -> tuple[str, str]:
    """Prefix, one of O, B, I, E and S, and type: `O` has an empty one.

    Raises:
        FormatError: neither O nor a prefix of `PREFIXES` with a type.
    """
    if label == OUTSIDE:
        return OUTSIDE, ""
    if not is_chunk_label(label):
        raise FormatError(f"{where(position)}: {RULE}, got {label!r}")
    return TO_BIOES.get(label[0], label[0]), label[2:]


def is_chunk_label(label: str) -> bool:
    """Whether this is a prefix of `PREFIXES`, a hyphen and a type."""
    return len(label) > 2 and label[0] in PREFIXES and label[1] == "-"


def as_bioes(label: str) -> str:
    """A chunk label with the letters of BIOES: L is E, and U is S."""
    return TO_BIOES[label[0]] + label[1:] if is_chunk_label(label) and label[0] in TO_BIOES else label
