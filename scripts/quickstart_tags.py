"""Write a small corpus of tagged words, in which a later word decides an earlier label.

A sentence is plain words, labelled `O`, with names in it. All words of a name have one label, the name's kind: person,
place or firm. The first words can begin a name of any kind. A word after them, the key, tells the kind. The words after
the key tell nothing. A tagger that reads from left to right has to guess the first labels, and both biases of
cross-entropy training are there:

* exposure bias: the gold label before always tells the kind, so the tagger learns to copy it, and copies a wrong guess;
* label bias: the key gets its label with probability one whatever was guessed before, so the score of a right guess is
  no better than that of a wrong one.

No sentence occurs twice, and test and valid do not change with ``--train``.
"""

from random import Random

from quickstart_files import generate

from seqsearch_fairseq.programs import run_program

KINDS = ("person", "place", "firm")
PLAIN = [f"{a}{b}" for a in ("ba", "do", "ki", "lu", "me", "no") for b in ("ran", "sto", "vel", "mi", "tep")]
SHARED = [f"{a}{b}".capitalize() for a in ("al", "be", "co", "da", "fe", "ha") for b in ("ro", "lin", "mas", "dor")]
KEYS = {
    kind: [f"{a}{kind[:2]}{b}".capitalize() for a in ("ra", "ti", "vo", "zu") for b in ("s", "ck")] for kind in KINDS
}
WEIGHTS = (4, 3, 3)  # how often each kind is meant


def name(rng: Random) -> tuple[list[str], str]:
    """The words of a name, and its kind."""
    (kind,) = rng.choices(KINDS, WEIGHTS)
    before, after = rng.randint(1, 2), rng.randint(2, 5)
    return [*rng.choices(SHARED, k=before), rng.choice(KEYS[kind]), *rng.choices(SHARED, k=after)], kind


def sentence(rng: Random) -> tuple[str, str]:
    """Words and labels, with spaces between them."""
    words: list[str] = []
    labels: list[str] = []
    for _ in range(rng.randint(1, 3)):
        plain = rng.choices(PLAIN, k=rng.randint(1, 3))
        named, kind = name(rng)
        words += [*plain, *named]
        labels += ["O"] * len(plain) + [kind] * len(named)
    return " ".join([*words, "."]), " ".join([*labels, "O"])


def main() -> int:
    sizes = {"train": 1500, "valid": 200, "test": 400}
    return generate("Write a small corpus of tagged words", ("words", "labels"), sentence, sizes)


if __name__ == "__main__":
    run_program(main)
