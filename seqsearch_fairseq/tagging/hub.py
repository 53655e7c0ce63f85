"""The tagger as a model of fairseq's hub: `TaggerModel.from_pretrained(folder, "checkpoint_best.pt").tag([...])`."""

import os
from collections.abc import Mapping, Sequence
from typing import cast

from fairseq.hub_utils import GeneratorHubInterface

from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.tagging.loading import HERE, Loaded, load
from seqsearch_fairseq.tagging.options import TagOptions
from seqsearch_fairseq.tagging.tagger import Item, Tagger
from seqsearch_fairseq.tagging.text import TOKENIZERS

Sentence = str | Sequence[str]


def from_pretrained(folder: str, checkpoint_file: str, data: str, **overrides) -> "TaggerHubInterface":
    """See `TaggerModel.from_pretrained`."""
    paths = [os.path.join(folder, name) for name in checkpoint_file.split(os.pathsep)]
    overrides.pop("user_dir", None)  # it is this package
    there = os.path.join(folder, data) if data.startswith(".") else data
    return TaggerHubInterface(load(paths, None if data == HERE else there, overrides))


class TaggerHubInterface(GeneratorHubInterface):
    """A `torch.nn.Module`: `.cuda()`, `.cpu()` and `.to(device)` move it."""

    def __init__(self, loaded: Loaded):
        super().__init__(loaded.cfg, loaded.task, loaded.models)
        self.tagger = Tagger(loaded)

    def tag(
        self,
        sentences: Sentence | Sequence[Sentence],
        factors: Mapping[str, Sequence[Sentence]] | None = None,
        tokenize: str = "none",
        language: str = "en",
        **options,
    ) -> list[str] | list[list[str]]:
        """The labels of each sentence, one a word.

        Args:
            sentences: texts, or lists of words; one text alone is one sentence, and has its labels alone.
            factors: by name, for each sentence its values: as a text, or a list. Those of the model must be given.
            tokenize: how texts are split: `none` is at white space, `moses`.
            language: of `moses`.
            options: `decoder`, `beam`, `alpha`, `scores`, `batch_size`, `max_tokens`: see `TagOptions`.

        Raises:
            UsageError: an option out of its range, a factor that is missing or has too few or too many values, or a
                sentence longer than the model reads.
        """
        if isinstance(sentences, str):
            one = {name: [cast(Sentence, values)] for name, values in (factors or {}).items()}
            return self._tag([sentences], one, tokenize, language, options)[0]
        return self._tag(sentences, factors or {}, tokenize, language, options)

    def _tag(
        self,
        sentences: Sequence[Sentence],
        factors: Mapping[str, Sequence[Sentence]],
        tokenize: str,
        language: str,
        options: dict,
    ) -> list[list[str]]:
        if tokenize not in TOKENIZERS:
            raise UsageError(f"tokenize must be one of {', '.join(TOKENIZERS)}, got {tokenize!r}")
        split = TOKENIZERS[tokenize](language)
        rows = [_words(sentence, split) for sentence in sentences]
        columns = {name: [_words(row, str.split) for row in values] for name, values in factors.items()}
        for name, values in columns.items():
            if len(values) != len(rows):
                raise UsageError(
                    f"the factor {name} must have values for each sentence: {len(rows)}, got {len(values)}"
                )
        items = (
            Item(words, {name: values[i] for name, values in columns.items()}, f"sentence {i + 1}")
            for i, words in enumerate(rows)
        )
        return [labels for _, labels in self.tagger.tag(items, TagOptions(**options), self.device)]


def _words(sentence: Sentence, split) -> list[str]:
    """A sentence's words; white space inside one is written as `_`, as preparation does."""
    if isinstance(sentence, str):
        return split(sentence)
    return ["_".join(word.split()) or "_" for word in sentence]
