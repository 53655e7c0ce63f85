"""What both tasks of text share: checked data, the candidates of the search, and the choice of the decoder."""

import copy
import math
import os
from argparse import Namespace
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from fairseq import utils
from fairseq.data import data_utils
from fairseq.dataclass import ChoiceEnum
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from omegaconf import DictConfig, open_dict

from seqsearch_fairseq.adapters import LOCAL_SCORES
from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.generation import flags
from seqsearch_fairseq.generation.scored_ensemble import LOG_PROBS, LOGITS, ScoredEnsemble
from seqsearch_fairseq.generation.soft_beam_generator import SoftBeamGenerator
from seqsearch_fairseq.tasks.run import Run, RunConfig

FILLER = "madeupword"  # fairseq-preprocess pads a dictionary with these to a multiple of --padding-factor
DECODERS = ("greedy", "beam", "soft-beam")
AUTO = "auto"
TRAINED_SCORES = "trained_scores"  # in a checkpoint's task state
NOT_WITH_LOGITS = {"sampling": False, "print_alignment": None}  # generation flags, and what they are when not given


@dataclass
class SearchTaskConfig(RunConfig, TranslationConfig):
    decoder: ChoiceEnum(list(DECODERS)) = field(
        default="beam",
        metadata={
            "help": "how to decode: greedy, fairseq's own beam search (beam), or the relaxed beam (soft-beam); "
            "--beam is the width"
        },
    )
    soft_beam_decode_alpha: float = field(
        default=10.0,
        metadata={
            "help": "with --decoder soft-beam: how peaked the relaxed top-k is; as it grows it becomes plain beam "
            "search"
        },
    )
    decode_scores: ChoiceEnum([AUTO, *LOCAL_SCORES]) = field(
        default=AUTO,
        metadata={
            "help": "what a hypothesis adds up for each token, in decoding and at validation: log-probs, logits, "
            "or (auto) what the checkpoint was trained with; auto is log-probs where the criterion has no "
            "such choice"
        },
    )


class SearchTask(Run, TranslationTask):
    """A translation task that knows which tokens a search may output, and three decoders."""

    one_label_a_word = False  # whether the output has exactly the source's length

    def __init__(self, cfg, src_dict, tgt_dict):
        super().__init__(cfg, src_dict, tgt_dict)
        self.trained_scores: dict[str, None] = {}  # local scores of this run's criterion, or of the checkpoints loaded
        self._trains = False

    @classmethod
    def setup_task(cls, cfg, **kwargs):
        _check_data(cfg)
        if not 0 < cfg.soft_beam_decode_alpha < math.inf:
            raise UsageError(f"--soft-beam-decode-alpha must be positive, got {cfg.soft_beam_decode_alpha}")
        if cfg.left_pad_target:
            raise UsageError("--left-pad-target must be False: a search reads every target from its first token on")
        return super().setup_task(cfg, **kwargs)

    def load_dataset(self, split, epoch=1, combine=False, **kwargs):
        _check_not_empty(self.cfg, split)
        try:
            super().load_dataset(split, epoch=epoch, combine=combine, **kwargs)
        except FileNotFoundError as error:
            if str(error).startswith("Dataset not found"):
                raise _MissingSplit(_missing_split(self.cfg, split)) from error
            raise

    def build_model(self, cfg, from_checkpoint=False):
        if isinstance(cfg, Namespace):  # the archs that hold every flag, where a transformer takes ours for its own
            vars(cfg).pop("decoder", None)
        return super().build_model(cfg, from_checkpoint)

    def build_criterion(self, cfg, from_checkpoint=False):
        criterion = super().build_criterion(cfg, from_checkpoint)
        self.trained_scores, self._trains = {getattr(criterion, "trained_scores", LOG_PROBS): None}, True
        return criterion

    def state_dict(self):
        """What a checkpoint keeps of the task: the local scores that its model is trained with."""
        return {**super().state_dict(), TRAINED_SCORES: next(iter(self.trained_scores), LOG_PROBS)}

    def load_state_dict(self, state_dict):
        """Called for each checkpoint that is decoded with, and not in training."""
        state_dict = dict(state_dict)
        trained = state_dict.pop(TRAINED_SCORES, LOG_PROBS)
        if not self._trains:
            self.trained_scores[trained] = None
        super().load_state_dict(state_dict)

    @property
    def decode_scores(self) -> str:
        """The local score of decoding and validation, a name of `adapters.LOCAL_SCORES`.

        Raises:
            UsageError: `auto`, and the checkpoints of an ensemble were trained with different ones.
        """
        if str(self.cfg.decode_scores) != AUTO:
            return str(self.cfg.decode_scores)
        if len(self.trained_scores) > 1:
            raise UsageError(
                f"the checkpoints were trained with different scores ({', '.join(self.trained_scores)}); choose with "
                "--decode-scores"
            )
        return next(iter(self.trained_scores), LOG_PROBS)

    @contextmanager
    def decoding_with(self, scores: str):
        """A context in which fairseq's beam search decodes and adds up `scores`, a name of `adapters.LOCAL_SCORES`."""
        before = self.cfg.decoder, self.cfg.decode_scores
        self.cfg.decoder, self.cfg.decode_scores = "beam", scores
        try:
            yield
        finally:
            self.cfg.decoder, self.cfg.decode_scores = before

    def search_candidates(self) -> torch.Tensor:
        """(V,) bool: the tokens that a search may output. As in fairseq's beam search, all but padding."""
        candidates = torch.ones(len(self.target_dictionary), dtype=torch.bool)
        candidates[self.target_dictionary.pad()] = False
        return candidates

    def occurring_candidates(self) -> torch.Tensor:
        """(V,) bool: of the candidates those that a gold sequence may hold; no start symbol, no filler."""
        symbols = self.target_dictionary.symbols
        occurring = torch.tensor([not symbol.startswith(FILLER) for symbol in symbols])
        occurring[self.target_dictionary.bos()] = False
        return occurring & self.search_candidates()

    def search_lengths(self, sample) -> torch.Tensor:
        """(B,) number of output tokens of each gold sequence."""
        return sample["target"].ne(self.target_dictionary.pad()).sum(dim=1)

    def build_generator(self, models, args, seq_gen_cls=None, extra_gen_cls_kwargs=None, **kwargs):
        decoder = str(self.cfg.decoder)
        count, beam = int(self.search_candidates().sum()), getattr(args, "beam", 5)
        if decoder != "greedy" and not 1 <= beam <= count:
            raise UsageError(f"--beam must be in [1, {count}], the number of candidate tokens, got {beam}")
        flags.check(args, beam, len(self.target_dictionary))
        if decoder == "soft-beam" and not getattr(args, "score_reference", False):
            return SoftBeamGenerator.from_args(
                models, self, args, alpha=self.cfg.soft_beam_decode_alpha, extra=extra_gen_cls_kwargs
            )
        if decoder == "greedy":
            args = _with_beam(args, 1)
        given = [
            name for name, neutral in NOT_WITH_LOGITS.items() if getattr(args, name, neutral) not in (neutral, None)
        ]
        if given and self.decode_scores == LOGITS:
            raise UsageError(
                f"--{given[0].replace('_', '-')} needs log-probabilities, and this model is decoded with logits; leave "
                "it out, or say --decode-scores log-probs"
            )
        if not given and not getattr(args, "score_reference", False):
            models = ScoredEnsemble(models, lambda: self.decode_scores)
        return super().build_generator(models, args, seq_gen_cls, extra_gen_cls_kwargs, **kwargs)

    def inference_step(self, generator, models, sample, prefix_tokens=None, constraints=None):
        if constraints is None and getattr(getattr(generator, "search", None), "supports_constraints", False):
            raise UsageError("--constraints needs constraints with each sentence, which fairseq-interactive reads")
        return super().inference_step(generator, models, sample, prefix_tokens, constraints)


class _MissingSplit(UsageError, FileNotFoundError):
    """fairseq looks for train, train1, train2, ... until it meets a FileNotFoundError."""


def match_decoder_length(generator) -> None:
    """Let `generator` decode as many steps as the source has words, whatever --max-len-a and --max-len-b say."""
    generator.max_len_a, generator.max_len_b, generator.min_len = 1, 0, 0


def _with_beam(args, beam: int):
    args = copy.copy(args)
    if isinstance(args, DictConfig):
        with open_dict(args):
            args.beam = beam
    else:
        args.beam = beam
    return args


def _check_data(cfg) -> None:
    """Say what is missing before fairseq fails on it."""
    paths = utils.split_paths(cfg.data) if cfg.data else []
    if not paths:
        raise UsageError("no data: name the folder that fairseq-preprocess wrote (its --destdir)")
    for path in paths:
        if not os.path.isdir(path):
            raise UsageError(f"the data folder {path} does not exist; fairseq-preprocess writes it (--destdir)")
    if cfg.source_lang is None or cfg.target_lang is None:
        cfg.source_lang, cfg.target_lang = _languages(paths[0])
    if cfg.source_lang is None or cfg.target_lang is None:
        raise UsageError(
            f"the data folder {paths[0]} holds no file named like train.SOURCE-TARGET.SOURCE.idx, so the languages are "
            "unknown; run fairseq-preprocess, or give --source-lang and --target-lang"
        )
    for lang in (cfg.source_lang, cfg.target_lang):
        path = os.path.join(paths[0], f"dict.{lang}.txt")
        if not os.path.isfile(path):
            raise UsageError(f"the dictionary {path} does not exist; fairseq-preprocess writes it")


def _languages(path: str) -> tuple[str | None, str | None]:
    """Source and target language of a data folder: the pair that has files of both, if only one has.

    fairseq takes any pair, but that of a factor, or of a second source, has no target.
    """
    found: dict[tuple[str, str], set[str]] = {}  # pair -> the languages that have files
    for name in os.listdir(path):
        parts = name.split(".")  # SPLIT.SOURCE-TARGET.LANGUAGE.idx
        if len(parts) >= 3 and parts[1].count("-") == 1:
            source, target = parts[1].split("-")
            found.setdefault((source, target), set()).add(parts[2])
    complete = [pair for pair, languages in found.items() if languages.issuperset(pair)]
    return complete[0] if len(complete) == 1 else data_utils.infer_language_pair(path)


def _check_not_empty(cfg, split: str) -> None:
    """Refuse an empty file before fairseq maps it: numpy fails on it, and again when its reader is deleted."""
    langs = cfg.source_lang, cfg.target_lang
    for path in utils.split_paths(cfg.data):
        for pair in ("-".join(langs), "-".join(reversed(langs))):
            for lang in langs:
                file = os.path.join(path, f"{split}.{pair}.{lang}.bin")
                if os.path.isfile(file) and os.path.getsize(file) == 0:
                    raise UsageError(f"split '{split}' of {path} is empty: {file} holds no sentence")


def _missing_split(cfg, split: str) -> str:
    pair = f"{cfg.source_lang}-{cfg.target_lang}"
    return f"split '{split}' is not in {cfg.data}: there is no {split}.{pair}.{cfg.source_lang}.idx"
