"""Tagging as sequence to sequence: the output has exactly the source's length, one label a word.

Data are what fairseq-preprocess makes of two text files, words and labels. The end-of-sentence symbol that it
appends is taken off both sides: it is not predicted, not scored and not counted. The words may come with factors, see
`factors.py`.
"""

import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from fairseq import search, utils
from fairseq.data import Dictionary, StripTokenDataset
from fairseq.logging import metrics
from fairseq.tasks import register_task

from seqsearch_fairseq.adapters import FairseqStep, encode
from seqsearch_fairseq.algorithms.hard_beam import hard_beam
from seqsearch_fairseq.data import record
from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.models.tagger import TaggerEncoder
from seqsearch_fairseq.scoring.tagging import DEFAULT_SCORER
from seqsearch_fairseq.tag_scores import ChunkCounts, are_chunk_labels, count_chunks, score_of
from seqsearch_fairseq.tasks.factors import Factor, FactoredPairDataset, load_dictionaries, load_factor
from seqsearch_fairseq.tasks.search_task import FILLER, SearchTask, SearchTaskConfig, match_decoder_length

PREPARATION, LANGUAGES = "preparation", "languages"  # in a checkpoint's task state
logger = logging.getLogger(__name__)


@dataclass
class SearchTaggingConfig(SearchTaskConfig):
    max_source_positions: int = field(
        default=4096,
        metadata={"help": "largest number of words of a sentence; training leaves out longer ones"},
    )
    max_target_positions: int = field(
        default=4096, metadata={"help": "largest number of labels of a sentence; training leaves out longer ones"}
    )
    tagging_valid_beam: int = field(
        default=3,
        metadata={
            "help": "beam width of accuracy_beam, which validation logs beside accuracy_greedy, and of "
            "chunk_f1_beam beside chunk_f1_greedy where the labels are of chunks"
        },
    )
    tagging_factors: str = field(
        default="",
        metadata={
            "help": "names of the words' factors, as in pos,case. Each is what fairseq-preprocess --source-lang "
            "NAME --target-lang LABELS --only-source added to the data folder. Needs a tagger"
        },
    )


@register_task("search_tagging", dataclass=SearchTaggingConfig)
class SearchTaggingTask(SearchTask):
    """Sequence labelling whose decoder conditions on the labels before."""

    one_label_a_word = True

    def __init__(self, cfg, src_dict, tgt_dict):
        super().__init__(cfg, src_dict, tgt_dict)
        self.factor_dictionaries = load_dictionaries(cfg)
        self.preparations: list[record.Preparation | None] = []  # of this run's words, or of the checkpoints loaded

    @classmethod
    def add_args(cls, parser):
        super().add_args(parser)
        parser.set_defaults(scoring=DEFAULT_SCORER)  # fairseq's default is BLEU, for all tasks

    @classmethod
    def build_dictionary(cls, filenames, **options):
        """fairseq-preprocess's; the record of the words' preparation is saved beside the dictionary."""
        filenames = list(filenames)
        plain = super().build_dictionary(filenames, **options)
        return RecordedDictionary.of(plain, record.of_texts(filenames))

    @classmethod
    def setup_task(cls, cfg, **kwargs):
        if cfg.eval_bleu:
            raise UsageError(
                "--eval-bleu is for search_translation; search_tagging logs accuracy_greedy, accuracy_beam, and "
                "chunk_f1_greedy, chunk_f1_beam where the labels are of chunks"
            )
        if cfg.truncate_source:
            raise UsageError("--truncate-source would leave labels without words; use --max-source-positions to drop")
        cfg.left_pad_source = cfg.left_pad_target = False
        cfg.num_batch_buckets = 0
        task = super().setup_task(cfg, **kwargs)
        count = int(task.search_candidates().sum())
        if not 1 <= cfg.tagging_valid_beam <= count:
            raise UsageError(
                f"--tagging-valid-beam must be in [1, {count}], the number of labels, got {cfg.tagging_valid_beam}"
            )
        return task

    def load_dataset(self, split, epoch=1, combine=False, **kwargs):
        super().load_dataset(split, epoch=epoch, combine=combine, **kwargs)
        pairs = self.datasets[split]
        _check_lengths(pairs, split, self.cfg.data)
        factors = [load_factor(self, name, pairs.src_sizes, split, epoch, combine) for name in self.factor_dictionaries]
        self.datasets[split] = self._without_eos(
            pairs.src, pairs.src_sizes, pairs.tgt, pairs.tgt_sizes, pairs.shuffle, factors
        )

    def build_dataset_for_inference(self, src_tokens, src_lengths, constraints=None, factors=None):
        """Sentences to tag; `factors` are by name, of each sentence (T,), and as many as it has words."""
        if self.factor_dictionaries and factors is None:
            raise UsageError(
                f"--tagging-factors {self.cfg.tagging_factors} needs the factors of each word, and here are words only "
                "(fairseq-interactive reads no others); decode with python -m seqsearch_fairseq tag, or preprocess "
                "them and decode with fairseq-generate"
            )
        given = [Factor(factors[name], symbols.pad()) for name, symbols in self.factor_dictionaries.items()]
        return self._without_eos(src_tokens, src_lengths, None, None, shuffle=True, factors=given)

    def build_model(self, cfg, from_checkpoint=False):
        model = super().build_model(cfg, from_checkpoint)
        if self.factor_dictionaries and not isinstance(model.encoder, TaggerEncoder):
            raise UsageError(
                f"--tagging-factors {self.cfg.tagging_factors} needs a tagger, --arch tagger_lstm for instance; "
                f"{type(model).__name__} reads words only"
            )
        return model

    def build_criterion(self, cfg, from_checkpoint=False):
        found, note = record.of_data(Path(utils.split_paths(self.cfg.data)[0]), self.cfg.source_lang)
        if note is not None:
            logger.warning(note)
        self.preparations = [found]
        return super().build_criterion(cfg, from_checkpoint)

    def state_dict(self):
        """What a checkpoint keeps of the task: also what was done to the words that its model is trained on."""
        found = self.preparations[0] if self.preparations else None
        return {
            **super().state_dict(),
            PREPARATION: None if found is None else found.as_dict(),
            LANGUAGES: [self.cfg.source_lang, self.cfg.target_lang],
        }

    def load_state_dict(self, state_dict):
        """Called for each checkpoint that is decoded with, and not in training."""
        state_dict = dict(state_dict)
        saved = state_dict.pop(PREPARATION, None)
        state_dict.pop(LANGUAGES, None)
        if not self._trains:
            self.preparations.append(None if saved is None else record.from_dict(saved, "the checkpoint's task state"))
        super().load_state_dict(state_dict)

    def _without_eos(self, words, word_sizes, labels, label_sizes, shuffle, factors):
        eos = self.source_dictionary.eos()
        return FactoredPairDataset(
            factors,
            StripTokenDataset(words, eos),
            np.asarray(word_sizes) - 1,
            self.source_dictionary,
            None if labels is None else StripTokenDataset(labels, eos),
            None if labels is None else np.asarray(label_sizes) - 1,
            self.target_dictionary,
            left_pad_source=False,
            left_pad_target=False,
            shuffle=shuffle,
        )

    def search_candidates(self) -> torch.Tensor:
        """(V,) bool: the labels; no special symbol, and none of the dictionary's fillers."""
        symbols = self.target_dictionary.symbols
        first = self.target_dictionary.nspecial
        return torch.tensor([i >= first and not s.startswith(FILLER) for i, s in enumerate(symbols)])

    def build_generator(self, models, args, seq_gen_cls=None, extra_gen_cls_kwargs=None, **kwargs):
        if getattr(args, "prefix_size", 0) > 0:
            raise UsageError(f"search_tagging does not support --prefix-size, got {args.prefix_size}; leave it out")
        if getattr(args, "print_alignment", None) and any(isinstance(m.encoder, TaggerEncoder) for m in models):
            raise UsageError("--print-alignment needs a model with attention; a tagger's labels stand under its words")
        generator = super().build_generator(models, args, seq_gen_cls, extra_gen_cls_kwargs, **kwargs)
        if isinstance(getattr(generator, "search", None), search.BeamSearch):
            generator.search = OneLabelAWord(self.target_dictionary, self.search_candidates())
            generator.should_set_src_lengths = True
            match_decoder_length(generator)
        return generator

    def valid_step(self, sample, model, criterion):
        loss, sample_size, logging_output = super().valid_step(sample, model, criterion)
        target = sample["target"]
        with torch.no_grad():  # the encoder is run once for all decoders
            step = FairseqStep(model, encode(model, sample["net_input"]), len(target), self.decode_scores)
        for name, beam_size in (("greedy", 1), ("beam", self.cfg.tagging_valid_beam)):
            best = self._best_labels(step, sample, beam_size)
            logging_output[f"_correct_{name}"] = int((best.eq(target) & target.ne(self.target_dictionary.pad())).sum())
            if self.labels_are_chunks:
                counts = count_chunks(self._symbols(target), self._symbols(best))
                for kind, count in zip(counts._fields, counts, strict=True):
                    logging_output[f"_chunks_{kind}_{name}"] = count.total()
        logging_output["_labels"] = int(self.search_lengths(sample).sum())
        return loss, sample_size, logging_output

    @cached_property
    def labels_are_chunks(self) -> bool:
        """Whether the labels are O, and B-, I-, E- or S- with a type."""
        names = zip(self.target_dictionary.symbols, self.search_candidates().tolist(), strict=True)
        return are_chunk_labels(name for name, is_label in names if is_label)

    def _symbols(self, labels: torch.Tensor) -> list[list[str]]:
        """(B, T) -> the labels of each sentence, without padding."""
        symbols, pad = self.target_dictionary.symbols, self.target_dictionary.pad()
        return [[symbols[label] for label in row if label != pad] for row in labels.tolist()]

    @torch.no_grad()
    def _best_labels(self, step: FairseqStep, sample, beam_size: int) -> torch.Tensor:
        """(B, T) the best hypothesis of a beam search of width `beam_size`, with padding where the target has it."""
        candidates = self.search_candidates().to(sample["target"].device)
        best = hard_beam(step, self.search_lengths(sample), beam_size, candidates).tokens[:, 0]
        return best.masked_fill(sample["target"].eq(self.target_dictionary.pad()), self.target_dictionary.pad())

    def reduce_metrics(self, logging_outputs, criterion):
        super().reduce_metrics(logging_outputs, criterion)
        labels = sum(log.get("_labels", 0) for log in logging_outputs)
        if labels > 0:
            for name in ("greedy", "beam"):
                correct = sum(log.get(f"_correct_{name}", 0) for log in logging_outputs)
                metrics.log_scalar(f"accuracy_{name}", 100 * float(correct) / float(labels), int(labels), round=2)
                if self.labels_are_chunks:
                    self._log_chunk_f1(logging_outputs, name)

    def _log_chunk_f1(self, logging_outputs, name: str) -> None:
        """F1 over all batches: their counts are added up, and then divided."""
        keys = [f"_chunks_{kind}_{name}" for kind in ChunkCounts._fields]
        for key in keys:
            metrics.log_scalar_sum(key, int(sum(log.get(key, 0) for log in logging_outputs)))
        metrics.log_derived(
            f"chunk_f1_{name}", lambda meters: round(score_of(*(meters[key].sum for key in keys)).f1, 2)
        )


class RecordedDictionary(Dictionary):
    """A dictionary of fairseq-preprocess that is saved together with the record of how its words were prepared."""

    preparation: record.Preparation | None = None

    @classmethod
    def of(cls, plain: Dictionary, preparation: record.Preparation | None) -> "RecordedDictionary":
        dictionary = cls()
        dictionary.__dict__.update(vars(plain))
        dictionary.preparation = preparation
        return dictionary

    def save(self, f):
        super().save(f)
        if self.preparation is not None and isinstance(f, str):  # fairseq calls it again with the opened file
            self.preparation.save(Path(f).parent)


class OneLabelAWord(search.BeamSearch):
    """fairseq's beam search, made to output a label for each word and then, at no cost, the end of sentence."""

    def __init__(self, dictionary, candidates: torch.Tensor):
        super().__init__(dictionary)
        self.register_buffer("candidates", candidates)

    src_lengths: torch.Tensor  # fairseq's generator sets it

    def prune_sentences(self, batch_idxs):
        self.src_lengths = self.src_lengths[batch_idxs]

    def step(self, step, lprobs, scores, *args, **kwargs):
        lprobs.masked_fill_(~self.candidates.to(lprobs.device), -torch.inf)
        ended = (self.src_lengths <= step).to(lprobs.device)
        lprobs[ended] = -torch.inf
        lprobs[ended, :, self.eos] = 0.0
        return super().step(step, lprobs, scores, *args, **kwargs)


def _check_lengths(pairs, split: str, data: str) -> None:
    """Each label line must have as many tokens as its word line, and at least one."""
    words, labels = np.asarray(pairs.src_sizes) - 1, pairs.tgt_sizes
    if labels is None:
        return
    labels = np.asarray(labels) - 1
    wrong = np.flatnonzero((words != labels) | (words < 1))
    if len(wrong) > 0:
        line = wrong[0]
        raise UsageError(
            f"search_tagging needs one label for each word, and at least one word: in split '{split}' of {data}, "
            f"line {line + 1} has {words[line]} words and {labels[line]} labels ({len(wrong)} such lines in all)"
        )
