"""A trained model that tags: sentences in, labels out, in batches of like length and in the order they came in."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from fairseq import utils
from omegaconf import open_dict
from torch import Tensor

from seqsearch_fairseq.adapters import SUPPORTED, FairseqStep, encode
from seqsearch_fairseq.algorithms.hard_beam import hard_beam
from seqsearch_fairseq.data.preparation import escaped
from seqsearch_fairseq.data.record import Preparation
from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.tagging.loading import Loaded
from seqsearch_fairseq.tagging.options import BEAM, BUFFER, BUFFER_WORDS, TagOptions


class Item(NamedTuple):
    """A sentence to be tagged."""

    words: list[str]  # as they were read; none is empty or holds white space
    factors: dict[str, list[str]]  # by name, one a word
    where: str  # its place, for messages
    source: Any = None  # what the caller wants back with the labels


class Encoded(NamedTuple):
    words: Tensor  # (T + 1,) with the end of sentence
    factors: dict[str, Tensor]  # each (T,)


class Tagger:
    """A task of `search_tagging` and its models, several as an ensemble."""

    def __init__(self, loaded: Loaded):
        self.cfg, self.task, self.models = loaded
        self.words = self.task.source_dictionary
        self.labels = self.task.target_dictionary.symbols
        self.candidates = self.task.search_candidates()
        limits = [limit for model in self.models for limit in model.max_positions()]
        self.longest = int(min(limits))
        self.preparation = _one_preparation(self.task.preparations)

    def tag(
        self, items: Iterable[Item], options: TagOptions, device: torch.device, buffer: int = BUFFER
    ) -> Iterator[tuple[Item, list[str]]]:
        """Each item with its labels, in the order of the items, which are read as a stream.

        Args:
            buffer: how many sentences are read at once, to be sorted by length; fewer, if they hold `BUFFER_WORDS`.

        Raises:
            UsageError: an option out of its range, a sentence without the model's factors, or one that is longer than
                the model can read.
        """
        search = self._search(options)
        for portion in _portions(items, buffer):
            labels = self._tag_portion(portion, search, options, device)
            yield from zip(portion, labels, strict=True)

    @torch.inference_mode()
    def _tag_portion(self, portion: list[Item], search, options: TagOptions, device) -> list[list[str]]:
        found: list[list[str]] = [[] for _ in portion]
        for batch in _batches([len(item.words) for item in portion], options):
            sample = utils.apply_to_sample(
                lambda t: t.to(device), self._collated([self._encode(portion[i]) for i in batch])
            )
            for row, labels in zip(sample["id"].tolist(), search(sample), strict=True):
                found[batch[row]] = [self.labels[label] for label in labels]
        return found

    def _encode(self, item: Item) -> Encoded:
        if len(item.words) > self.longest:
            raise UsageError(
                f"{item.where}: a sentence of {len(item.words)} words, and the model reads at most {self.longest}; "
                "split it"
            )
        words = self.preparation(item.words) if self.preparation else map(escaped, item.words)
        factors = {name: self._encode_factor(item, name) for name in self.task.factor_dictionaries}
        return Encoded(torch.tensor([*_indices(self.words, words), self.words.eos()]), factors)

    def _encode_factor(self, item: Item, name: str) -> Tensor:
        values = item.factors.get(name)
        if values is None:
            raise UsageError(
                f"{item.where}: the model reads the factor {name} of each word, and there is none; name its column "
                f"(--factor {name}=N), or in Python factors={{'{name}': ...}}"
            )
        if len(values) != len(item.words):
            raise UsageError(
                f"{item.where}: the factor {name} must have one value a word, got {len(values)} for "
                f"{len(item.words)} words"
            )
        return torch.tensor(list(_indices(self.task.factor_dictionaries[name], map(escaped, values))))

    def _collated(self, encoded: Sequence[Encoded]) -> dict:
        names = self.task.factor_dictionaries
        dataset = self.task.build_dataset_for_inference(
            [sentence.words for sentence in encoded],
            [len(sentence.words) for sentence in encoded],
            factors={name: [sentence.factors[name] for sentence in encoded] for name in names},
        )
        return dataset.collater([dataset[i] for i in range(len(encoded))])

    def _search(self, options: TagOptions):
        """The function from a batch to the labels of each of its sentences."""
        with open_dict(self.task.cfg):
            self.task.cfg.decoder, self.task.cfg.decode_scores = options.decoder, options.scores
            self.task.cfg.soft_beam_decode_alpha = options.alpha
        args = self.cfg.generation
        beam = options.beam or min(BEAM, int(self.candidates.sum()))
        with open_dict(args):
            args.beam = beam
        generator = self.task.build_generator(self.models, args)  # checks the options
        beam = 1 if options.decoder == "greedy" else beam
        plain = options.decoder != "soft-beam" and len(self.models) == 1
        if plain and isinstance(self.models[0].decoder, SUPPORTED):
            return lambda sample: self._hard_beam(sample, beam)
        return lambda sample: self._generated(sample, generator)

    def _hard_beam(self, sample: dict, beam: int) -> Iterator[list[int]]:
        """What fairseq's beam search finds, in fewer operations: all sentences of a batch end at a known step."""
        net_input = sample["net_input"]
        lengths = net_input["src_lengths"]
        step = FairseqStep(self.models[0], encode(self.models[0], net_input), len(lengths), self.task.decode_scores)
        best = hard_beam(step, lengths, beam, self.candidates.to(lengths.device)).tokens[:, 0]
        return (row[:length] for row, length in zip(best.tolist(), lengths.tolist(), strict=True))

    def _generated(self, sample: dict, generator) -> Iterator[list[int]]:
        found = self.task.inference_step(generator, self.models, sample)
        eos = self.task.target_dictionary.eos()
        return ([token for token in hypotheses[0]["tokens"].tolist() if token != eos] for hypotheses in found)


def _one_preparation(preparations: list[Preparation | None]) -> Preparation | None:
    treatments = {(p.lowercase, p.digits) if p else (False, False) for p in preparations}
    if len(treatments) > 1:
        raise UsageError("the checkpoints of an ensemble must be trained on words that were prepared in the same way")
    return preparations[0] if preparations else None


def _indices(dictionary, symbols: Iterable[str]) -> Iterator[int]:
    known, unknown = dictionary.indices, dictionary.unk()
    return (known.get(symbol, unknown) for symbol in symbols)


def _portions(items: Iterable[Item], buffer: int) -> Iterator[list[Item]]:
    portion: list[Item] = []
    words = 0
    for item in items:
        portion.append(item)
        words += len(item.words)
        if len(portion) >= buffer or words >= BUFFER_WORDS:
            yield portion
            portion, words = [], 0
    if portion:
        yield portion


def _batches(lengths: list[int], options: TagOptions) -> Iterator[list[int]]:
    """Positions of sentences, longest first, in batches; those without words are in none, one too long is alone."""
    order = sorted((i for i, length in enumerate(lengths) if length > 0), key=lengths.__getitem__, reverse=True)
    rest = iter(order)
    while (first := next(rest, None)) is not None:
        size = len(order) if options.max_tokens is None else max(1, options.max_tokens // lengths[first])
        if options.batch_size is not None:
            size = min(size, options.batch_size)
        yield [first, *itertools.islice(rest, size - 1)]
