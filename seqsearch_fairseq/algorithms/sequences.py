"""How sequences are held: a row of tokens (T,) that is filled with `FILL` after its end."""

from torch import Tensor

FILL = -1


def sequence_lengths(sequences: Tensor) -> Tensor:
    return sequences.ne(FILL).sum(dim=1)
