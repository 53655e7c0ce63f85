"""Speech recognition: frames or audio in, words out, by way of units at frames.

Data are in fairseq's format for speech (`data/recognition/manifests.py`). Without an alignment: a criterion sums over
all ways in which the units fit the frames, fairseq's own `ctc` for instance.
"""

import itertools
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fairseq.logging import metrics
from fairseq.tasks import register_task
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.search import Settings as BeamSettings
from seqsearch_fairseq.beam_decoder import BeamDecoder
from seqsearch_fairseq.data.recognition.features import WAVEFORM, Settings, frames_of, read_frames
from seqsearch_fairseq.data.recognition.manifests import read_manifest, read_transcriptions
from seqsearch_fairseq.data.recognition.units import (
    ARROW,
    least_frames,
)
from seqsearch_fairseq.emissions import Emissions, emissions_of, emit, frames_after, last_output
from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.generation.recognition import DECODERS, GREEDY, RecognitionGenerator
from seqsearch_fairseq.scoring.recognition import DEFAULT_SCORER, Errors, rapidfuzz_as_editdistance
from seqsearch_fairseq.tasks import recognition_flags as flags
from seqsearch_fairseq.tasks.recognition_flags import ASG, CTC, SearchRecognitionConfig
from seqsearch_fairseq.tasks.run import Run
from seqsearch_fairseq.tasks.unit_dictionary import UnitDictionary, WordsAfterArrow
from seqsearch_fairseq.tasks.units_and_words import UnitsAndWords
from seqsearch_fairseq.tasks.utterances import UtteranceDataset

FRAMES = "frames"  # in a checkpoint's task state: how frames are read, and how many numbers one has
logger = logging.getLogger(__name__)


@register_task("search_recognition", dataclass=SearchRecognitionConfig)
class SearchRecognitionTask(UnitsAndWords, Run):
    """Recognition with units at frames; in CTC the blank is fairseq's start symbol, as in its audio tasks."""

    def __init__(self, cfg, dictionary: UnitDictionary):
        super().__init__(cfg)
        self.read_words(cfg, dictionary)
        self.settings = Settings(
            audio=str(cfg.recognition_audio),
            rate=cfg.recognition_sample_rate,
            bins=cfg.recognition_filterbanks,
            deltas=cfg.recognition_deltas,
            normalize=str(cfg.recognition_normalize),
            normalize_waveform=cfg.normalize,
        )
        self.given_weights = flags.given_weights(cfg)  # of the beam decoder, in the place of the checkpoint's
        self.beam_settings = BeamSettings(
            cfg.recognition_beam_size, cfg.recognition_beam_threshold, str(cfg.recognition_merge)
        )
        self.beam_decoder: BeamDecoder | None = None  # of the model that was built last
        self._trains = self._loaded = False
        self._input_size: int | None = None
        self._frames_after: Callable[[np.ndarray], np.ndarray] | None = None  # from input lengths to the output's

    @classmethod
    def add_args(cls, parser):
        super().add_args(parser)
        parser.set_defaults(scoring=DEFAULT_SCORER)  # fairseq's default is BLEU, for all tasks

    @classmethod
    def setup_task(cls, cfg, **kwargs):
        """Raises `UsageError` if a flag or the folder of the data breaks a rule."""
        flags.check(cfg)
        path = flags.dictionary_path(cfg)
        dictionary = UnitDictionary.load(str(path))
        if ARROW in dictionary:
            raise UsageError(f"{path}: {ARROW} cannot be a unit; words are written after it")
        return cls(cfg, dictionary)

    @property
    def source_dictionary(self):
        return None

    @property
    def target_dictionary(self) -> UnitDictionary:
        return self.dictionary

    # -------------------------------------------------------------------------------------------------------- data

    def load_dataset(self, split, epoch=1, combine=False, task_cfg=None, **kwargs):
        """Raises `UsageError` if something is missing, or a file breaks its format."""
        folder = Path(self.cfg.data)
        manifest = folder / f"{split}.tsv"
        if not manifest.is_file():
            raise UsageError(
                f"split '{split}' is not in {folder}: there is no {manifest.name}; scripts/prepare_recognition.py "
                "writes it"
            )
        entries = list(read_manifest(manifest))
        if not entries:
            raise UsageError(f"split '{split}' of {folder} is empty: {manifest} names no utterance")
        targets, words = self._transcriptions(folder, split, manifest, len(entries))
        lengths = np.array([frames_of(entry.path, entry.length, self.settings) for entry in entries])
        dataset = UtteranceDataset(
            [entry.path for entry in entries],
            lengths,
            partial(read_frames, settings=self.settings),
            targets,
            words,
            self.dictionary.pad(),
            self.input_size,
        )
        if self._trains and targets is not None:
            self._leave_out_short(dataset, targets, split)
        self.datasets[split] = dataset

    def _transcriptions(self, folder: Path, split: str, manifest: Path, count: int):
        """The units and the words of each utterance; None where there are none, which is enough to decode."""
        paths = {kind: folder / f"{split}.{kind}" for kind in (self.labels, "wrd")}
        of_units = paths[self.labels]
        if not of_units.is_file():
            if self._trains:
                raise UsageError(f"split '{split}' of {folder} has no transcriptions: there is no {of_units.name}")
            return None, None
        lines = read_transcriptions(of_units, manifest, count)
        targets = [
            self.encoded(line, f"{of_units}, line {number}", self._trains) for number, line in enumerate(lines, 1)
        ]
        if paths["wrd"].is_file():
            words = read_transcriptions(paths["wrd"], manifest, count)
        else:
            words = [" ".join(self.words_of(target.tolist())) for target in targets]
        if self._trains and self.lexicon is not None:
            self.lexicon.check(words, str(paths["wrd"]))
        return targets, words

    def _leave_out_short(self, dataset: UtteranceDataset, targets: list[Tensor], split: str) -> None:
        """Leave out utterances that have fewer frames, after subsampling, than their units need."""
        frames = dataset.sizes if self._frames_after is None else self._frames_after(dataset.sizes)
        needed = [least_frames(target.tolist(), self.topology == CTC) for target in targets]
        fits = (frames >= np.array(needed)) & (frames > 0)
        if not fits.any():
            raise UsageError(f"split '{split}' of {self.cfg.data}: all transcriptions are longer than their frames")
        if not fits.all():
            first = int(np.flatnonzero(~fits)[0])
            logger.warning(
                f"{split}: {int((~fits).sum())} of {len(fits)} utterances are left out, as their transcriptions are "
                f"longer than their frames; the first is {dataset.paths[first]}: it needs {needed[first]} frames, and "
                f"has {frames[first]} after subsampling"
            )
        dataset.keep(fits)

    @property
    def labels(self) -> str:
        return flags.dictionary_path(self.cfg).name.split(".")[1]

    @property
    def input_size(self) -> int | None:
        """Numbers of a frame; None for waveforms. The checkpoint's, or those of the first training utterance."""
        if self._input_size is None and self.settings.audio != WAVEFORM:
            manifest = Path(self.cfg.data) / f"{self.cfg.train_subset}.tsv"
            if not manifest.is_file():
                raise UsageError(f"{manifest} does not exist, so it is unknown what a frame looks like")
            first = next(read_manifest(manifest), None)
            if first is None:
                raise UsageError(f"{manifest} names no utterance")
            self._input_size = read_frames(first.path, self.settings).shape[1]
        return self._input_size

    # -------------------------------------------------------------------------------------------------- training

    def build_model(self, cfg, from_checkpoint=False):
        model = super().build_model(cfg, from_checkpoint)
        actual = getattr(model, "cfg", None)
        if actual is not None and hasattr(actual, "w2v_args"):  # a checkpoint of a pretrained model needs them
            cfg.w2v_args = actual.w2v_args
        self._frames_after = frames_after(model)
        self.beam_decoder = BeamDecoder(self.decoder_files, len(self.dictionary) if self.topology == ASG else None)
        model.beam_decoder = self.beam_decoder
        return model

    def build_criterion(self, cfg, from_checkpoint=False):
        if self.topology == ASG and getattr(cfg, "_name", None) == "ctc":
            raise UsageError("--criterion ctc needs a blank: say --recognition-topology ctc, got asg")
        self._trains = True
        return super().build_criterion(cfg, from_checkpoint)

    def state_dict(self):
        """What a checkpoint keeps of the task: what its model reads, and the topology of its units."""
        read = {"input_size": self.input_size, "topology": self.topology, "repetitions": self.repetitions}
        return {**super().state_dict(), FRAMES: {**self.settings._asdict(), **read}}

    def load_state_dict(self, state_dict):
        """Called for each checkpoint that is decoded with, before its model is built: read what it was trained to read.

        Raises:
            UsageError: it has another topology than the flags, or reads other frames than an earlier checkpoint.
        """
        state_dict = dict(state_dict)
        saved = dict(state_dict.pop(FRAMES, {}))
        super().load_state_dict(state_dict)
        if not saved:
            return
        for name, ours in (("topology", self.topology), ("repetitions", self.repetitions)):
            if (theirs := saved.pop(name)) != ours:
                raise UsageError(f"the checkpoint was trained with --recognition-{name} {theirs}, got {ours}")
        size, settings = saved.pop("input_size"), Settings(**saved)
        if self._loaded and (size, settings) != (self._input_size, self.settings):
            raise UsageError("the checkpoints were trained on different frames, so they cannot be decoded together")
        self._input_size, self.settings, self._loaded = size, settings, True

    # ------------------------------------------------------------------------------------- validation and decoding

    def valid_step(self, sample, model, criterion):
        with last_output(model) as outputs, rapidfuzz_as_editdistance():
            loss, sample_size, logging_output = super().valid_step(sample, model, criterion)
        with torch.no_grad():
            emissions = emissions_of(model, outputs[0]) if outputs else emit([model], sample["net_input"])
        for decoder in DECODERS:
            if decoder == GREEDY or self.lexicon is not None:
                words, units = self.errors(decoder, emissions, model, sample)
                for kind, errors in (("word", words), ("unit", units)):
                    for name, count in errors._asdict().items():
                        logging_output[f"_{kind}_{decoder}_{name}"] = count
        return loss, sample_size, logging_output

    def errors(self, decoder: str, emissions: Emissions, model, sample) -> tuple[Errors, Errors]:
        """The errors in words, and in units, of what a decoder makes of a batch; `sample` has its gold."""
        words, units = Errors(), Errors()
        found = DECODERS[decoder](self, emissions, [model])
        for [best, *_], target, said in zip(found, sample["target"], sample["words"], strict=True):
            words = words.and_of(said.split(), best.words)
            units = units.and_of(self.gold(target), self.written_out(best.units))
        return words, units

    def reduce_metrics(self, logging_outputs, criterion):
        super().reduce_metrics(logging_outputs, criterion)
        for kind, decoder in itertools.product(("unit", "word"), DECODERS):
            counts = {
                name: int(sum(log.get(f"_{kind}_{decoder}_{name}", 0) for log in logging_outputs))
                for name in Errors._fields
            }
            if counts["total"] > 0:
                metrics.log_scalar(f"{kind}_error_{decoder}", Errors(**counts).rate(), counts["total"], round=2)

    def build_generator(self, models, args, seq_gen_cls=None, extra_gen_cls_kwargs=None, **kwargs):
        flags.check_generation(args, self.cfg)
        return RecognitionGenerator(self, DECODERS[str(self.cfg.decoder)], getattr(args, "nbest", 1))

    def inference_step(self, generator, models, sample, prefix_tokens=None, constraints=None):
        """The hypotheses. The target is made what they are: units, an arrow, words."""
        found = generator.generate(models, sample)
        if sample["target"] is not None:
            gold = [
                torch.tensor(self.dictionary.with_words(self.gold(target), words.split()))
                for target, words in zip(sample["target"], sample["words"], strict=True)
            ]
            sample["target"] = torch.nn.utils.rnn.pad_sequence(gold, True, self.dictionary.pad())
        return found

    def build_bpe(self, args):
        if args is not None and getattr(args, "_name", None) is not None:
            raise UsageError(f"--bpe {args._name}: search_recognition writes the words itself; leave it out")
        return WordsAfterArrow()

    def max_positions(self):
        return None
