"""Lines of handwriting, set from single handwritten letters.

Each letter of a line is a glyph of some writer, drawn at random. The columns of pixels are the frames. So that letters
cannot be read off one by one, gaps have random widths, each glyph is shifted up or down, and some pixels are flipped.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqsearch_fairseq.data.files import FormatError, read_lines
from seqsearch_fairseq.data.letters import pixels_of, read_letters

HEIGHT, WIDTH = 16, 8  # pixels of a glyph

Glyphs = dict[str, np.ndarray]  # of each letter (n, HEIGHT, WIDTH), 0 or 1


class Distortion(NamedTuple):
    letter_gap: int = 2  # most empty columns between two letters; the least is none
    word_gap: int = 5  # most empty columns between two words; the least is `letter_gap`
    shift: int = 2  # most rows that a glyph is moved up or down
    noise: float = 0.05  # share of the pixels that are flipped

    @property
    def height(self) -> int:
        """Pixels of a column."""
        return HEIGHT + 2 * self.shift


def read_glyphs(path: Path) -> dict[int, Glyphs]:
    """The glyphs of each fold of a file of Taskar's letters.

    Raises:
        FormatError: a line breaks the format, or there is none.
    """
    found: dict[int, dict[str, list[list[int]]]] = {}
    for word in read_letters(read_lines(path), str(path)):
        of_fold = found.setdefault(word.fold, {})
        for token, letter in zip(word.glyphs, word.letters, strict=True):
            of_fold.setdefault(letter, []).append(pixels_of(token))
    if not found:
        raise FormatError(f"{path} holds no letter")
    return {
        fold: {
            letter: np.array(pixels, dtype=np.uint8).reshape(-1, HEIGHT, WIDTH) for letter, pixels in of_fold.items()
        }
        for fold, of_fold in found.items()
    }


def joined(folds: Sequence[Glyphs]) -> Glyphs:
    """The glyphs of several folds as those of one."""
    letters = sorted({letter for fold in folds for letter in fold})
    return {letter: np.concatenate([fold[letter] for fold in folds if letter in fold]) for letter in letters}


def draw_line(words: Sequence[str], glyphs: Glyphs, distortion: Distortion, draws: np.random.Generator) -> np.ndarray:
    """The frames of a line (T, distortion.height), 0 or 1: its columns from left to right, each from top to bottom.

    Args:
        glyphs: of each letter of the words.
    """
    columns = [_gap(0, distortion.word_gap, distortion, draws)]
    for word in words:
        for place, letter in enumerate(word):
            if place > 0:
                columns.append(_gap(0, distortion.letter_gap, distortion, draws))
            glyph = glyphs[letter][draws.integers(len(glyphs[letter]))]
            top = int(draws.integers(2 * distortion.shift + 1))
            drawn = np.zeros((WIDTH, distortion.height), dtype=np.uint8)
            drawn[:, top : top + HEIGHT] = glyph.T
            columns.append(drawn)
        columns.append(_gap(distortion.letter_gap, distortion.word_gap, distortion, draws))
    frames = np.concatenate(columns)
    return frames ^ (draws.random(frames.shape) < distortion.noise)


def _gap(least: int, most: int, distortion: Distortion, draws: np.random.Generator) -> np.ndarray:
    return np.zeros((int(draws.integers(least, most + 1)), distortion.height), dtype=np.uint8)
