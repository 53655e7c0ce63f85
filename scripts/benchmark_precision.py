"""What roll-outs in bfloat16 change, for `benchmark.py searnn`. Not a program of its own."""

from collections.abc import Callable, Mapping

import torch

from seqsearch_fairseq.algorithms.searnn.algorithm import Searnn

NARROW = ", bfloat16"  # ends the name of a variant whose name without it is the same in float32
DRAWS = 3  # of roll-outs, cells and tokens


def costs_changed(searches: Mapping[str, Callable[[], Searnn]], variant: str, seed: int) -> float | None:
    """The share of a variant's costs that are not those of float32; None of a variant in float32."""
    if not variant.endswith(NARROW):
        return None
    shares = []
    for draw in range(DRAWS):
        found = []
        for name in (variant.removesuffix(NARROW), variant):
            torch.manual_seed(seed + draw)
            found.append(searches[name]())
        whole, narrow = found
        shares.append(float((whole.costs - narrow.costs)[whole.tried].abs().gt(1e-9).double().mean()))
    return sum(shares) / len(shares)
