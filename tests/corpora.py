"""Tiny seeded corpora, as text files that fairseq-preprocess reads, and lines to decode."""

from pathlib import Path
from random import Random

SPLITS = {"train": 400, "valid": 24, "test": 200, "small": 48}
WORDS = [f"w{i}" for i in range(12)]


def write_translation(folder: Path, seed: int = 1) -> Path:
    """{train,valid,test,small}.{src,tgt}: word for word, but some words become two, and forms are drawn."""
    rng = Random(seed)
    for split, size in SPLITS.items():
        pairs = [_translation_pair(rng) for _ in range(size)]
        write_parallel(folder, split, pairs)
    return folder


def write_tagging(folder: Path, seed: int = 2) -> Path:
    """{train,valid,test,small}.{src,tgt}: a label depends on the word and on the label before; lengths from 1 to 8."""
    rng = Random(seed)
    for split, size in SPLITS.items():
        pairs = [_tagged_sentence(rng) for _ in range(size)]
        write_parallel(folder, split, pairs)
    return folder


def write_parallel(folder: Path, split: str, pairs: list[tuple[list[str], list[str]]]) -> None:
    """`split`.src and `split`.tgt in `folder`, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for side, lines in zip(("src", "tgt"), zip(*pairs, strict=True), strict=True):
        text = "".join(" ".join(line) + "\n" for line in lines)
        (folder / f"{split}.{side}").write_text(text, encoding="utf-8")


def _translation_pair(rng: Random) -> tuple[list[str], list[str]]:
    words = rng.choices(range(len(WORDS)), k=rng.randint(1, 6))
    target = []
    for word in words:
        target.append(f"t{word}" if rng.random() < 0.6 + 0.03 * word else f"u{word}")
        if word % 3 == 0 and rng.random() < 0.3 + 0.05 * word:
            target.append(f"v{word}")
    return [WORDS[word] for word in words], target


def _tagged_sentence(rng: Random) -> tuple[list[str], list[str]]:
    words, labels, before = [], [], 0
    for _ in range(rng.randint(1, 8)):
        word = rng.randrange(len(WORDS))
        before = (word + before + (rng.random() < 0.02 * word)) % 3
        words.append(WORDS[word])
        labels.append("O" if before == 0 else f"L{before}")
    return words, labels
