"""The flags of `search_recognition`, what they must be, and the files that they name."""

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum
from omegaconf import II

from seqsearch_fairseq.algorithms.beam_decoder.merging import MERGES
from seqsearch_fairseq.beam_decoder import LM, SILENCE, WORD
from seqsearch_fairseq.data.recognition.features import AUDIO, FILTERBANKS
from seqsearch_fairseq.data.recognition.filterbanks import NORMALIZATIONS
from seqsearch_fairseq.data.recognition.units import SEPARATORS
from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.generation.recognition import DECODERS, GREEDY
from seqsearch_fairseq.tasks.run import RunConfig

CTC, ASG = "ctc", "asg"
AUTO, NONE = "auto", "none"
LEAST = {  # of numbers that only have a smallest value
    "recognition_beam_size": 1,
    "recognition_repetitions": 0,
    "recognition_sample_rate": 1000,
    "recognition_filterbanks": 1,
    "recognition_deltas": 0,
}
WEIGHTS = {  # flags that say a weight of the beam decoder -> the weight
    "recognition_lm_weight": LM,
    "recognition_word_score": WORD,
    "recognition_silence_score": SILENCE,
}
NOT_HERE = {  # generation flags that this task has no use for, and what they are when not given
    "prefix_size": 0,
    "score_reference": False,
    "constraints": None,
    "sampling": False,
    "print_alignment": None,
    "print_step": False,
    "retain_iter_history": False,
    "replace_unk": None,
    "lm_path": None,
}


@dataclass
class SearchRecognitionConfig(RunConfig):
    data: Optional[str] = field(  # noqa: UP045  (fairseq reads no other)
        default=None, metadata={"help": "folder of the manifests, transcriptions and the dictionary"}
    )
    labels: Optional[str] = field(  # noqa: UP045
        default=None,
        metadata={"help": "ending of the files of units, as in ltr or phn; not needed where there is one dictionary"},
    )
    decoder: ChoiceEnum(list(DECODERS)) = field(
        default=GREEDY,
        metadata={
            "help": "how to decode: greedy, the most probable unit of each frame; beam, the best words of the lexicon, "
            "with the language model, if there is one"
        },
    )
    recognition_topology: ChoiceEnum([CTC, ASG]) = field(
        default=CTC,
        metadata={
            "help": "how units fill frames: ctc, with a blank; asg, without, and a repeated unit is written with a "
            "repetition symbol"
        },
    )
    recognition_repetitions: int = field(
        default=1,
        metadata={"help": "with asg: the largest repetition that has a symbol; 1 writes ll as l 1, 2 also lll as l 2"},
    )
    recognition_silence: str = field(
        default=AUTO,
        metadata={
            "help": "the unit between words; auto is | or SIL, whichever the dictionary has, and none is no such unit"
        },
    )
    recognition_lexicon: Optional[str] = field(  # noqa: UP045
        default=None,
        metadata={"help": "words and their units, WORD, a tab, u n i t s; training data must hold no other words"},
    )
    recognition_lm: Optional[str] = field(  # noqa: UP045
        default=None,
        metadata={"help": "word language model: an n-gram as ARPA file, or what train_recognition_lm.py wrote"},
    )
    recognition_beam_size: int = field(
        default=50,
        metadata={"help": "hypotheses that the beam keeps of a frame, in decoding and at validation"},
    )
    recognition_beam_threshold: float = field(
        default=math.inf,
        metadata={"help": "and none whose score is so much below that of the best, in natural logarithms"},
    )
    recognition_merge: ChoiceEnum(list(MERGES)) = field(
        default="log-add",
        metadata={
            "help": "what hypotheses in the same state become: one with the sum of their probabilities (log-add), as "
            "in training, or the better one (max)"
        },
    )
    recognition_lm_weight: Optional[float] = field(  # noqa: UP045
        default=None,
        metadata={
            "help": "weight of the language model's base-10 logarithms; if not given the checkpoint's, and 1 where it "
            "has none"
        },
    )
    recognition_word_score: Optional[float] = field(  # noqa: UP045
        default=None, metadata={"help": "added for each word; if not given the checkpoint's, and 0 where it has none"}
    )
    recognition_silence_score: Optional[float] = field(  # noqa: UP045
        default=None,
        metadata={
            "help": "added for each frame of --recognition-silence; if not given the checkpoint's, and 0 where it has "
            "none"
        },
    )
    recognition_audio: ChoiceEnum(list(AUDIO)) = field(
        default=FILTERBANKS,
        metadata={"help": "what the model reads of audio: filterbanks, or the waveform itself, as wav2vec_ctc does"},
    )
    recognition_sample_rate: int = field(default=16_000, metadata={"help": "samples a second that audio must have"})
    recognition_filterbanks: int = field(default=40, metadata={"help": "filterbanks of a frame of audio"})
    recognition_deltas: int = field(
        default=2,
        metadata={
            "help": "how often slopes over time are appended to the frames: with 2, 13 cepstra become 39 numbers"
        },
    )
    recognition_normalize: ChoiceEnum(list(NORMALIZATIONS)) = field(
        default="mean",
        metadata={"help": "what is subtracted from and divided by each number of a frame, over the utterance"},
    )
    normalize: bool = field(
        default=False,
        metadata={"help": "with waveforms: make their mean 0 and their variance 1, as fairseq's flag does"},
    )
    train_subset: str = II("dataset.train_subset")


def check(cfg) -> None:
    """Raise UsageError with the name, the rule and the value if a flag or the folder of the data breaks one."""
    if not cfg.data:
        raise UsageError("no data: name the folder that scripts/prepare_recognition.py wrote")
    if not os.path.isdir(cfg.data):
        raise UsageError(f"the data folder {cfg.data} does not exist; scripts/prepare_recognition.py writes it")
    for name, least in LEAST.items():
        if getattr(cfg, name) < least:
            raise UsageError(f"{_flag(name)} must be at least {least}, got {getattr(cfg, name)}")
    if not cfg.recognition_beam_threshold >= 0:
        raise UsageError(f"--recognition-beam-threshold must be at least 0, got {cfg.recognition_beam_threshold}")
    for name in WEIGHTS:
        value = getattr(cfg, name)
        if value is not None and not math.isfinite(value):
            raise UsageError(f"{_flag(name)} must be a number, got {value}")
    if str(cfg.decoder) != GREEDY and cfg.recognition_lexicon is None:
        raise UsageError(f"--decoder {cfg.decoder} needs words to find: say --recognition-lexicon")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def given_weights(cfg) -> dict[str, float]:
    """The weights of the beam decoder that flags say, by the names in `beam_decoder.DEFAULTS`."""
    return {weight: getattr(cfg, name) for name, weight in WEIGHTS.items() if getattr(cfg, name) is not None}


def check_generation(args, cfg) -> None:
    """Raise UsageError for a flag of fairseq-generate that has no meaning here."""
    for name, neutral in NOT_HERE.items():
        if getattr(args, name, neutral) not in (neutral, None):
            raise UsageError(f"search_recognition does not support {_flag(name)}; leave it out")
    nbest = getattr(args, "nbest", 1)
    if str(cfg.decoder) == GREEDY and nbest != 1:
        raise UsageError(f"--nbest must be 1 with --decoder greedy, which finds one hypothesis, got {nbest}")
    if not 1 <= nbest <= cfg.recognition_beam_size:
        raise UsageError(f"--nbest must be in [1, {cfg.recognition_beam_size}], the width of the beam, got {nbest}")


def dictionary_path(cfg) -> Path:
    """The file of the units: that of `--labels`, or the only one."""
    folder = Path(cfg.data)
    if cfg.labels:
        path = folder / f"dict.{cfg.labels}.txt"
        if not path.is_file():
            raise UsageError(f"the dictionary {path} does not exist; scripts/prepare_recognition.py writes it")
        return path
    found = sorted(folder.glob("dict.*.txt"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UsageError(f"the data folder {folder} must have one dictionary, or --labels name one; there is {names}")
    return found[0]


def silence(cfg, dictionary: Dictionary) -> str | None:
    """The unit between words."""
    wanted = cfg.recognition_silence
    if wanted == AUTO:
        return next((unit for unit in SEPARATORS if unit in dictionary), None)
    if wanted == NONE:
        return None
    if wanted not in dictionary.symbols[dictionary.nspecial :]:
        raise UsageError(f"--recognition-silence must be a unit of the dictionary, auto or none, got {wanted}")
    return wanted


def existing_file(cfg, name: str) -> Path | None:
    """The file that a flag names, None if it is not given."""
    value = getattr(cfg, name)
    if value is not None and not os.path.isfile(value):
        raise UsageError(f"{_flag(name)} {value} does not exist, or is no file")
    return None if value is None else Path(value)


def add_repetitions(dictionary: Dictionary, most: int) -> None:
    """The symbols 1 to `most`, which write a repeated unit in ASG."""
    for symbol in map(str, range(1, most + 1)):
        if symbol in dictionary:
            raise UsageError(
                f"--recognition-topology asg: {symbol} is a unit of the dictionary, and the symbol for a repetition too"
            )
        dictionary.add_symbol(symbol)
