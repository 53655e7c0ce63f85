"""Embeddings of the words' factors (a part of speech, for instance), beside those of the words.

x_i = [words(w_i); table_1(f_1i); ...; table_F(f_Fi)]
"""

import torch
from torch import Tensor, nn

from seqsearch_fairseq.errors import UsageError

PREFIX = "factor_"  # of the tables' names, so that none is the name of something that every module has


class FactorEmbeddings(nn.Module):
    """One embedding table a factor; without factors, nothing.

    Args:
        tables: name of a factor -> its table, in the order of the factors in a batch.
    """

    def __init__(self, tables: dict[str, nn.Embedding]):
        super().__init__()
        self.names = list(tables)
        for name, table in tables.items():
            self.add_module(PREFIX + name, table)

    def forward(self, words: Tensor, factors: Tensor | None) -> Tensor:
        """From word embeddings (B, S, E) and the factors (B, F, S) to both side by side.

        Raises:
            UsageError: the batch has other factors than the model, as far as their number shows that.
        """
        count = 0 if factors is None else factors.size(1)
        if count != len(self.names):
            raise UsageError(f"{_trained(self.names)}, but the batch has {count} factors a word; {_remedy(self.names)}")
        if factors is None:
            return words
        embedded = [getattr(self, PREFIX + name)(factors[:, i]) for i, name in enumerate(self.names)]
        return torch.cat([words, *embedded], dim=2) if embedded else words

    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> None:
        """What fairseq calls before it loads a checkpoint: refuse one whose factors are not the task's.

        Raises:
            UsageError: other factors, in another order, or a dictionary of another size.
        """
        start = f"{name}.{PREFIX}"
        saved = {
            key.removeprefix(start).removesuffix(".weight"): len(table)
            for key, table in state_dict.items()
            if key.startswith(start)
        }
        if list(saved) != self.names:
            given = f"--tagging-factors is {','.join(self.names)}" if self.names else "--tagging-factors is not given"
            raise UsageError(f"{_trained(list(saved))}, but {given}; {_remedy(list(saved))}")
        for factor, rows in saved.items():
            table = getattr(self, PREFIX + factor)
            if len(table.weight) != rows:
                raise UsageError(
                    f"the model was trained with {rows} symbols in the dictionary of the factor {factor}, but the data "
                    f"folder's has {len(table.weight)}; preprocess the data with the dictionary of training (--srcdict)"
                )


def embedding_sizes(text: str, names: list[str]) -> dict[str, int]:
    """The factors' embedding sizes, from `--encoder-factor-embed-dim`: one number for all, or one a factor.

    Raises:
        UsageError: not positive whole numbers, or too few or too many of them.
    """
    numbers = [number.strip() for number in str(text).split(",")]
    if not all(number.isdecimal() and int(number) > 0 for number in numbers):
        raise UsageError(f"--encoder-factor-embed-dim must be whole numbers of at least 1, as in 16,8, got {text}")
    if len(numbers) == 1:
        numbers *= len(names)
    elif names and len(numbers) != len(names):
        raise UsageError(
            f"--encoder-factor-embed-dim must be one number, or one for each factor: {text} has {len(numbers)}, and "
            f"--tagging-factors {','.join(names)} has {len(names)} (decode with the factors of training)"
        )
    return {name: int(number) for name, number in zip(names, numbers, strict=False)}


def _trained(names: list[str]) -> str:
    return f"the model was trained with the factors {','.join(names)}" if names else "the model has no factors"


def _remedy(names: list[str]) -> str:
    return f"give --task search_tagging --tagging-factors {','.join(names)}" if names else "leave out --tagging-factors"
