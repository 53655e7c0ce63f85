"""Letters in Taskar's format and a text, for tests of what is made of them."""

import string
from pathlib import Path

import numpy as np

WORDS = ("abed", "bed", "cab", "dab", "ebb", "fed", "gag", "had")


def glyph(letter: str, fold: int) -> np.ndarray:
    """(16, 8): a bar as high as the letter's place in the alphabet, and a row that tells the fold."""
    pixels = np.zeros((16, 8), dtype=np.uint8)
    pixels[2 + string.ascii_lowercase.index(letter) % 12, 1:7] = 1
    pixels[:, string.ascii_lowercase.index(letter) // 12 * 3] = 1
    pixels[15, :] = [int(bit) for bit in f"{fold:08b}"]
    return pixels


def write_letters(path: Path, letters: str = "abcdefgh", folds: int = 10) -> Path:
    """Each letter once in each fold, a fold a word."""
    rows = []
    for fold in range(folds):
        for place, letter in enumerate(letters, 1):
            number = len(rows) + 1
            next_id = -1 if place == len(letters) else number + 1
            columns = [number, letter, next_id, fold + 1, place, fold, *glyph(letter, fold).flatten().tolist()]
            rows.append("\t".join(map(str, columns)) + "\t\n")
    path.write_text("".join(rows))
    return path


def write_text(path: Path, sentences: int = 120, seed: int = 1) -> Path:
    """Sentences of 3 to 9 words, the first one with a capital, and a full stop; a number or a comma in every fifth."""
    draws = np.random.default_rng(seed)
    with path.open("w") as out:
        for number in range(sentences):
            words = [str(word) for word in draws.choice(WORDS, size=int(draws.integers(3, 10)))]
            words[0] = words[0].capitalize()
            if number % 5 == 0:
                words.insert(3, "1,000" if number % 2 else ",")
            out.write(" ".join([*words, "."]) + "\n")
    return path
