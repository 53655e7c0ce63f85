"""What the two generated corpora share: their options, and how their files are written."""

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

MAX_SIZE = 1_000_000

Pair = tuple[str, str]  # a line of each side


def generate(purpose: str, sides: Pair, sentence: Callable[[Random], Pair], sizes: dict[str, int]) -> int:
    """The whole program: read the options, draw the sentences, write `{train,valid,test}.SIDE`, print a summary."""
    parser = build_parser(f"{purpose} as {{train,valid,test}}.{{{','.join(sides)}}}.", sizes)
    args = parser.parse_args()
    try:
        args.output_dir.mkdir(parents=True, exist_ok=True)
        splits = make_splits(
            Random(args.seed), {name: getattr(args, name) for name in ("test", "valid", "train")}, sentence
        )
        for name, pairs in splits.items():
            for side, lines in zip(sides, zip(*pairs, strict=True), strict=True):
                write_lines(args.output_dir / f"{name}.{side}", lines)
    except OSError as error:
        rule = "must be a folder that can be written to"
        parser.error(f"argument OUTPUT_DIR: {rule}, got {str(args.output_dir)!r} ({error.strerror})")
    for name in ("train", "valid", "test"):
        print(summary(name, splits[name], sides))
    return 0


def make_splits(rng: Random, sizes: dict[str, int], sentence: Callable[[Random], Pair]) -> dict[str, list[Pair]]:
    """The pairs of each split, drawn in the order of `sizes`; no first side occurs twice."""
    seen: set[str] = set()
    splits: dict[str, list[Pair]] = {name: [] for name in sizes}
    for name, size in sizes.items():
        while len(splits[name]) < size:
            pair = sentence(rng)
            if pair[0] not in seen:
                seen.add(pair[0])
                splits[name].append(pair)
    return splits


def write_lines(path: Path, lines: Iterable[str]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def summary(name: str, pairs: list[Pair], sides: Pair) -> str:
    words = [" ".join(side).split() for side in zip(*pairs, strict=True)]
    counts = [f"{side} {len(found)} tokens, {len(set(found))} types" for side, found in zip(sides, words, strict=True)]
    return f"{name}: {len(pairs)} sentences; {'; '.join(counts)}"


def split_size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= MAX_SIZE):
        raise argparse.ArgumentTypeError(f"must be a whole number in [1, {MAX_SIZE}], got {text!r}")
    return int(text)


def folder(text: str) -> Path:
    if not text or (os.path.exists(text) and not os.path.isdir(text)):
        raise argparse.ArgumentTypeError(f"must be a folder, not a file, got {text!r}")
    return Path(text)


def seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None


def build_parser(purpose: str, sizes: dict[str, int]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("output_dir", metavar="OUTPUT_DIR", type=folder, help="folder to write to, made if missing")
    parser.add_argument(
        "--seed", type=seed, default=1, metavar="N", help="same seed, same files (default: %(default)s)"
    )
    for name, default in sizes.items():
        text = f"number of {name} sentences, at most {MAX_SIZE} (default: %(default)s)"
        parser.add_argument(f"--{name}", type=split_size, default=default, metavar="N", help=text)
    return parser
