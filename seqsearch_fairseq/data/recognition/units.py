"""The units of a transcription: letters or phones, what separates words, and how doubled ones are written in ASG."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

LETTER_SEPARATOR, PHONE_SEPARATOR = "|", "SIL"
SEPARATORS = (LETTER_SEPARATOR, PHONE_SEPARATOR)

# Where units and words stand in one sequence, the words come after this, and their numbers after its number, which is
# larger than that of any unit.
ARROW, ARROW_NUMBER = "=>", 1 << 24


def with_repetitions(units: Sequence[str], most: int) -> list[str]:
    """A run of equal units as the unit and how often it is repeated: `h e l l o` becomes `h e l 1 o`.

    Args:
        most: the largest repetition that has a symbol, "1" to str(most).

    Raises:
        ValueError: a unit is repeated more often.
    """
    found: list[str] = []
    for unit, run in itertools.groupby(units):
        repetitions = len(list(run)) - 1
        if repetitions > most:
            raise ValueError(
                f"`most` must be at least {repetitions} to write {unit!r} {repetitions + 1} times, got {most}"
            )
        found += [unit, str(repetitions)] if repetitions else [unit]
    return found


def without_repetitions(units: Sequence[str], most: int) -> list[str]:
    """The reverse of `with_repetitions`; a symbol that follows no unit is left out."""
    found: list[str] = []
    for unit in units:
        if unit.isdecimal() and 1 <= int(unit) <= most:
            found += found[-1:] * int(unit)
        else:
            found.append(unit)
    return found


def least_frames(units: Sequence, blank: bool) -> int:
    """The fewest frames that a transcription fits into; with a blank, equal neighbours need one between them."""
    between = sum(a == b for a, b in zip(units, units[1:], strict=False)) if blank else 0
    return len(units) + between


def spelled(words: Sequence[str], spellings, separator: str | None) -> list[str]:
    """The units of a transcription: each word's, and the separator after each.

    Args:
        spellings: from a word to its units.
    """
    end = [] if separator is None else [separator]
    return [unit for word in words for unit in (*spellings(word), *end)]


def write_dictionary(path: Path, counts: Mapping[str, int]) -> None:
    """fairseq's dictionary: a unit and its count a line, the most frequent first."""
    with path.open("w", encoding="utf-8") as out:
        for unit, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            out.write(f"{unit} {count}\n")


def words_of(units: Sequence[str], separator: str | None, word_of: dict[tuple[str, ...], str] | None = None) -> str:
    """The words that units spell, blanks between them: what stands between separators.

    Args:
        word_of: from a spelling to its word; a spelling that is not in it, or all without it, are joined as they are.
    """
    words, spelling = [], list[str]()
    for unit in (*units, None):
        if unit is not None and unit != separator:
            spelling.append(unit)
        elif spelling:
            words.append((word_of or {}).get(tuple(spelling), "".join(spelling)))
            spelling = []
    return " ".join(words)
