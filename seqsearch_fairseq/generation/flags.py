"""Generation flags that fairseq takes without a word and then fails on, or does not follow: one rule a flag."""

from collections.abc import Callable

from seqsearch_fairseq.errors import UsageError

ITERATIVE = "is for models that refine their output, which a search does not; leave it out"


def _nbest(args, beam: int, vocabulary: int) -> str | None:
    nbest = getattr(args, "nbest", 1)
    return None if 1 <= nbest <= beam else f"must be in [1, {beam}], the width of the beam, got {nbest}"


def _sampling_topk(args, beam: int, vocabulary: int) -> str | None:
    count = getattr(args, "sampling_topk", -1)
    return None if count <= vocabulary else f"must be at most {vocabulary}, the size of the vocabulary, got {count}"


def _print_step(args, beam: int, vocabulary: int) -> str | None:
    return ITERATIVE if getattr(args, "print_step", False) else None


def _retain_iter_history(args, beam: int, vocabulary: int) -> str | None:
    return ITERATIVE if getattr(args, "retain_iter_history", False) else None


RULES: dict[str, Callable] = {
    "--nbest": _nbest,
    "--sampling-topk": _sampling_topk,
    "--print-step": _print_step,
    "--retain-iter-history": _retain_iter_history,
}


def check(args, beam: int, vocabulary: int) -> None:
    """Raise UsageError with the flag and the rule if `args` break one.

    Args:
        args: generation flags, a namespace or a configuration.
        beam: its --beam, of which a greedy search keeps one.
        vocabulary: tokens of the target dictionary.
    """
    for flag, rule in RULES.items():
        if wrong := rule(args, beam, vocabulary):
            raise UsageError(f"{flag} {wrong}")
