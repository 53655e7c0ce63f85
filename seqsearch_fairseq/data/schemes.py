"""Chunk labels in the schemes that corpora ship: which one a corpus has, and from one to another.

    IOB1    I-X; B-X only where a chunk follows one of its own type directly
    IOB2    the first label of a chunk is B-X, the others are I-X (BIO)
    BIOES   B-X I-X E-X, and S-X for a chunk of one word

`O` is outside of any chunk. A type may hold hyphens (`B-GPE-PART` is of type `GPE-PART`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from seqsearch_fairseq.data.files import FormatError

IOB1, IOB2, BIOES = "iob1", "iob2", "bioes"
SCHEMES = (IOB1, IOB2, BIOES)
OUTSIDE = "O"

Where = Callable[[int], str]  # names the place of a sentence's label, by its position, in messages


def _somewhere(position: int) -> str:
    return f"label {position + 1}"


class Chunk(NamedTuple):
    kind: str
    begin: int  # its first word
    end: int  # the word after its last


class SchemeDetector:
    """Which schemes the labels of a corpus keep to, sentence by sentence.

    The first label that is not `O` tells whether they are labels of chunks at all.
    """

    def __init__(self):
        self.possible = list(SCHEMES)
        self.broken_by: dict[str, str] = {}  # scheme -> where it was first broken
        self.chunks: bool | None = None  # whether the labels are of chunks; None as long as all were O

    def add(self, labels: Sequence[str], where: Where) -> bool:
        """Look at one sentence. Return whether its labels are of chunks.

        Raises:
            FormatError: a label that is of no scheme, among those of chunks.
        """
        if self.chunks is None:
            first = next((label for label in labels if label != OUTSIDE), None)
            self.chunks = None if first is None else is_chunk_label(first)
        if not self.chunks:
            return False
        chunks = decode(labels, where)
        for scheme in list(self.possible):
            pairs = zip(labels, encode(chunks, len(labels), scheme), strict=True)
            differs = next((position for position, (label, right) in enumerate(pairs) if label != right), None)
            if differs is not None:
                self.possible.remove(scheme)
                self.broken_by[scheme] = where(differs)
        return True

    def found(self, name: str) -> str | None:
        """The scheme of all sentences so far, None where there was no chunk. IOB2 where it is IOB1 as well.

        Raises:
            FormatError: they keep to none.
        """
        if not self.chunks:
            return None
        for scheme in (IOB2, IOB1, BIOES):
            if scheme in self.possible:
                return scheme
        broken = "; ".join(f"{scheme} at {where}" for scheme, where in self.broken_by.items())
        raise FormatError(
            f"{name} mixes schemes of chunk labels, or keeps to none: it breaks {broken}. --scheme none takes the "
            "labels as they are, and a scheme's name converts them"
        )


def keeps_to(scheme: str, labels: Sequence[str], where: Where = _somewhere) -> bool:
    """Whether a sentence is what `encode` would write in this scheme."""
    return encode(decode(labels, where), len(labels), scheme) == list(labels)


def convert(labels: Sequence[str], scheme: str, where: Where = _somewhere) -> list[str]:
    """The same chunks in another scheme."""
    return encode(decode(labels, where), len(labels), scheme)


def decode(labels: Iterable[str], where: Where = _somewhere) -> list[Chunk]:
    """The chunks of a sentence, as conlleval finds them in any of the schemes.

    A chunk begins at B and S, and at I and E after another type, O, E or S; it ends after E and S.

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
        if scheme == BIOES:
            prefixes[-1] = "E" if len(prefixes) > 1 else "S"
        labels[chunk.begin : chunk.end] = [f"{prefix}-{chunk.kind}" for prefix in prefixes]
        last = chunk
    return labels


def parts(label: str, position: int = 0, where: Where = _somewhere) -> tuple[str, str]:
    """Prefix and type: `O` has an empty one.

    Raises:
        FormatError: neither O nor B-, I-, E- or S- with a type.
    """
    if label == OUTSIDE:
        return OUTSIDE, ""
    if not is_chunk_label(label):
        raise FormatError(f"{where(position)}: a chunk label must be O, or B-, I-, E- or S- with a type, got {label!r}")
    return label[0], label[2:]


def is_chunk_label(label: str) -> bool:
    """Whether this is B-, I-, E- or S- with a type."""
    return label[:2] in ("B-", "I-", "E-", "S-") and len(label) > 2
