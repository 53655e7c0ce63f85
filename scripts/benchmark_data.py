"""`benchmark.py data`: what it takes to prepare a corpus and to score labels. Not a program of its own.

The goals are a million tokens of a column file in 10 s, and 100,000 labels in 1 s: time ratios of at most 1 reach them.
The bytes of preparing are the process's peak against that of a tenth of the corpus: near 1, for it streams.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from benchmark_measures import Cost

import seqsearch_fairseq

PREPARE = Path(__file__).with_name("prepare_tagging.py")
WORDS, KINDS, LENGTH = 20_000, ("PER", "LOC", "ORG"), 25
TOKENS, LABELS = 1_000_000, 100_000


def sizes() -> list[str]:
    return [f"{TOKENS} tokens", f"{LABELS} labels"]


def measure(size: str, runs: int, seed: int) -> Iterator[Cost]:
    """The rows of one of `sizes()`."""
    draws = Random(seed)
    if size.endswith("tokens"):
        yield preparing(size, draws, runs)
    else:
        for scorer in ("chunk_f1", "tag_accuracy"):
            times = [scoring(scorer, draws) for _ in range(runs)]
            yield Cost(size, f"--scoring {scorer}", "1 s", statistics.median(times), None)


def preparing(size: str, draws: Random, runs: int) -> Cost:
    """CPU time and peak memory of prepare_tagging.py, its start included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        times: list[float] = []
        peaks: dict[int, int] = {}
        for tokens in (TOKENS // 10, TOKENS):
            with (folder / "corpus").open("w", encoding="utf-8") as corpus:
                for labels in sentences(tokens, draws):
                    corpus.writelines(f"word{draws.randrange(WORDS)} NN {label}\n" for label in labels)
                    corpus.write("\n")
            (folder / "test").write_text("word1 NN O\n", encoding="utf-8")
            for _ in range(runs if tokens == TOKENS else 1):
                seconds, peaks[tokens] = run_prepare(folder)
                if tokens == TOKENS:
                    times.append(seconds)
    grown = peaks[TOKENS] / peaks[TOKENS // 10]
    return Cost(size, "prepare_tagging.py", "10 s", statistics.median(times) / 10, grown)


def run_prepare(folder: Path) -> tuple[float, int]:
    """Seconds of CPU time, and the peak of memory."""
    files = ["--train", folder / "corpus", "--test", folder / "test"]
    flags = ["--lowercase", "--digits", "--scheme", "bioes", "--overwrite"]
    argv = [sys.executable, *map(str, [PREPARE, folder / "text", *files, *flags])]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise RuntimeError(f"prepare_tagging.py failed: {argv}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def scoring(name: str, draws: Random) -> float:
    """Seconds of CPU time from lines of labels to the printed score."""
    seqsearch_fairseq.register()
    from fairseq.scoring import build_scorer

    gold, predicted = ([" ".join(labels) for labels in sentences(LABELS, draws)] for _ in range(2))
    build_scorer(name, None).result_string()  # loads what it needs
    begin = time.process_time()
    scorer = build_scorer(name, None)
    for pair in zip(gold, predicted, strict=True):
        scorer.add_string(*pair)
    scorer.result_string()
    return time.process_time() - begin


def sentences(tokens: int, draws: Random) -> Iterator[list[str]]:
    """IOB2 labels, `LENGTH` a sentence."""
    for _ in range(tokens // LENGTH):
        labels: list[str] = []
        while len(labels) < LENGTH:
            kind, size = draws.choice(KINDS), draws.randint(1, 3)
            labels += draws.choice([["O"] * size, [f"B-{kind}", *[f"I-{kind}"] * (size - 1)]])
        yield labels[:LENGTH]
