"""The beam decoder of a recogniser: lexicon, language model and topology from files, weights from the checkpoint.

The task puts one on each model that it builds, as `model.beam_decoder`. At first it has no parameters, so that a model
is what it is without it. A criterion that trains the weights of the decoder, or the transitions of ASG, makes them
parameters of the model: so they are trained, saved, restored and reduced as the others are, and decoding finds them.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqsearch_fairseq.algorithms.beam_decoder import decoding
from seqsearch_fairseq.algorithms.beam_decoder.decoding import Hypothesis
from seqsearch_fairseq.algorithms.beam_decoder.language_models import LanguageModel, NoLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.ngrams import NgramLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.objective import BeamDecoderObjective, beam_decoder_objective
from seqsearch_fairseq.algorithms.beam_decoder.recurrent import RecurrentLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.scoring import Weights
from seqsearch_fairseq.algorithms.beam_decoder.search import Settings
from seqsearch_fairseq.algorithms.beam_decoder.topologies import Graph
from seqsearch_fairseq.emissions import Emissions
from seqsearch_fairseq.errors import UsageError

LM, WORD, SILENCE = "lm_weight", "word_score", "silence_score"
DEFAULTS = {LM: 1.0, WORD: 0.0, SILENCE: 0.0}  # where neither a checkpoint nor a flag says anything
RATE, TRANSITIONS, LANGUAGE_MODEL = "rate", "transitions", "language_model"
CONTENTS = "language_model_contents"  # of a trained language model: `LanguageModelFile.contents`

TrainableLanguageModel = NgramLanguageModel | RecurrentLanguageModel


class LanguageModelFile(NamedTuple):
    """A file of n-grams, or of a recurrent model."""

    name: str  # for messages
    lists: str  # what it lists: n-grams, or words
    contents: int  # a number that other n-grams, or other words, hardly have
    build: Callable[[bool], TrainableLanguageModel]  # over the words of the lexicon; whether to be trained


class DecoderFiles(NamedTuple):
    """What a task has read, for all its models."""

    words: list[str]  # the lexicon's, in the order of their numbers
    graph: Graph  # of lexicon and topology
    language_model: LanguageModelFile | None


class BeamDecoder(nn.Module):
    """The weights of a model's decoder, and what they weigh.

    Args:
        files: None without a lexicon. Then it decodes nothing, and only keeps what belongs to the model.
        units: U in ASG, which has transitions; None in CTC.
    """

    lm_weight: nn.Parameter | None
    word_score: nn.Parameter | None
    silence_score: nn.Parameter | None
    transitions: nn.Parameter | None  # (U, U)
    rate: Tensor | None  # the weights are so many times their parameters
    language_model_contents: Tensor | None

    def __init__(self, files: DecoderFiles | None, units: int | None):
        super().__init__()
        self.files, self.units = files, units
        for name in (*DEFAULTS, TRANSITIONS):
            self.register_parameter(name, None)
        self.register_buffer(RATE, None)
        self.register_buffer(CONTENTS, None)
        self.language_model: TrainableLanguageModel | None = None  # one that belongs to the checkpoint
        self._lacks_file = False
        self._graph = None if files is None else files.graph
        self._given: list[LanguageModel] = []  # the file's, which is no part of the module: it stays as precise

    # ----------------------------------------------------------------------------------------- what a criterion trains

    def adopt_weights(self, start: Mapping[str, float], learned: bool, rate: float = 1.0) -> None:
        """Make the weights part of the model; those that a checkpoint has set already stay as they are.

        Args:
            start: their values, by the names in `DEFAULTS`.
            rate: their learning rate, as a multiple of the model's.
        """
        if self.rate is None:
            self.rate = torch.tensor(float(rate if learned else 1.0))
        for name, value in start.items():
            if getattr(self, name) is None:
                setattr(self, name, nn.Parameter(torch.tensor(value) / self.rate, requires_grad=learned))

    def adopt_transitions(self) -> None:
        """Make the transitions of ASG, which begin at 0, part of the model."""
        if self.transitions is None:
            assert self.units is not None  # in CTC there are none
            self.transitions = nn.Parameter(torch.zeros(self.units, self.units))

    def adopt_language_model(self, learned: bool = True) -> None:
        """Make the n-gram's log-probabilities and back-off weights, or the recurrent model, part of the model."""
        if self.language_model is None:
            assert self.files is not None and self.files.language_model is not None  # the criterion sees to it
            self.language_model = self.files.language_model.build(True).float().requires_grad_(learned)
            self.language_model_contents = torch.tensor(self.files.language_model.contents)

    # ------------------------------------------------------------------------------------------------------ checkpoints

    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> None:
        """fairseq calls it with a checkpoint before that is loaded: checkpoint and decoder are made to hold the same.

        What the checkpoint has more becomes part of the model, without gradient; what it lacks stays as it is.

        Raises:
            UsageError: the checkpoint's language model is not that of the file.
        """
        prefix = f"{name}."
        saved = {key.removeprefix(prefix): state_dict.pop(key) for key in list(state_dict) if key.startswith(prefix)}
        if RATE in saved:
            self._take_weights(saved)
        if TRANSITIONS in saved and self.transitions is None:
            self.transitions = nn.Parameter(torch.empty_like(saved[TRANSITIONS]), requires_grad=False)
        self._take_language_model(saved)
        state_dict.update({prefix + key: value for key, value in {**self.state_dict(), **saved}.items()})

    def _take_weights(self, saved: dict[str, Tensor]) -> None:
        if self.rate is None:
            self.adopt_weights({key: 0.0 for key in DEFAULTS if key in saved}, learned=False)
        elif self.rate != saved[RATE]:  # the same weights, learned at another rate from now on
            for key in DEFAULTS:
                saved[key] = saved[key] * saved[RATE] / self.rate
            saved[RATE] = self.rate.clone()

    def _take_language_model(self, saved: dict[str, Tensor]) -> None:
        keys = [key for key in saved if key.startswith(f"{LANGUAGE_MODEL}.")]
        if not keys:
            return
        if self.files is None or self.files.language_model is None:
            self._lacks_file = True
            for key in (*keys, CONTENTS):
                saved.pop(key, None)
            return
        file = self.files.language_model
        self.adopt_language_model(learned=False)
        assert self.language_model is not None and self.language_model_contents is not None
        own = {f"{LANGUAGE_MODEL}.{key}": value.shape for key, value in self.language_model.state_dict().items()}
        contents = saved.setdefault(CONTENTS, self.language_model_contents)  # checkpoints of before have none
        if own.keys() == set(keys):
            differs = f"has other {file.lists} than" if int(contents) != file.contents else "has other sizes than"
        else:
            differs = "is of another kind than"
        if int(contents) != file.contents or own != {key: saved[key].shape for key in keys}:
            raise UsageError(
                f"--recognition-lm {file.name} {differs} the file that the checkpoint was trained with, whose "
                "probabilities it has changed; name that file"
            )

    # ----------------------------------------------------------------------------------------------------- what it does

    def values(self, instead: Mapping[str, float] | None = None) -> dict[str, float]:
        """The weights as numbers; those in `instead` in the place of the model's."""
        own = {name: DEFAULTS[name] if own is None else float(own.detach()) for name, own in self._scaled().items()}
        return {**own, **(instead or {})}

    def weights(self, instead: Mapping[str, float] | None = None) -> Weights:
        """The weights with their gradient; those in `instead` in the place of the model's."""
        found: dict[str, Tensor | float] = {
            name: DEFAULTS[name] if own is None else own for name, own in self._scaled().items()
        }
        found.update(instead or {})
        transitions: Tensor | None = self.transitions
        if self.units is not None and transitions is None:
            transitions = torch.zeros(self.units, self.units)
        return Weights(found[LM], found[WORD], found[SILENCE], transitions)

    def _scaled(self) -> dict[str, Tensor | None]:
        """Each weight: the parameter times the rate, with the gradient of the parameter alone."""
        found = {}
        for name in DEFAULTS:
            own = getattr(self, name)
            if own is not None:
                assert self.rate is not None
                wide = own.float()
                own = wide + (wide * (self.rate.float() - 1.0)).detach()
            found[name] = own
        return found

    def graph(self, device: torch.device) -> Graph:
        """Raises `UsageError` where there is no lexicon."""
        if self._graph is None:
            raise UsageError("a search needs words to find: say --recognition-lexicon")
        self._graph = self._graph.to(device)
        return self._graph

    def scorer(self, device: torch.device) -> LanguageModel:
        """The language model.

        Raises:
            UsageError: the checkpoint's language model needs its file.
        """
        if self._lacks_file:
            raise UsageError("the checkpoint holds probabilities of a language model: name its file, --recognition-lm")
        if self.language_model is not None:
            return self.language_model
        if not self._given:
            file = None if self.files is None else self.files.language_model
            self._given = [NoLanguageModel() if file is None else file.build(False).requires_grad_(False)]
        if isinstance(self._given[0], nn.Module):
            self._given[0].to(device)
        return self._given[0]

    def objective(self, emissions: Emissions, words: Tensor, settings: Settings, gold: str) -> BeamDecoderObjective:
        """The loss of each utterance; `words` (B, M) as `beam_decoder_objective` has them."""
        device = emissions.log_probs.device
        parts = self.graph(device), self.scorer(device), self.weights()
        size, threshold = settings.beam_size, settings.threshold
        return beam_decoder_objective(emissions.log_probs, emissions.lengths, words, *parts, size, threshold, gold)

    @torch.no_grad()
    def decode(
        self,
        emissions: Emissions,
        settings: Settings,
        instead: Mapping[str, float] | None = None,
        n_best: int = 1,
    ) -> list[list[Hypothesis]]:
        """The `n_best` word sequences of each utterance, best first; none where the beam holds no complete one."""
        device = emissions.log_probs.device
        parts = self.graph(device), self.scorer(device), self.weights(instead)
        there = emissions.lengths > 0
        found: list[list[Hypothesis]] = [[] for _ in there]
        if bool(there.any()):
            decoded = decoding.decode(emissions.log_probs[there], emissions.lengths[there], *parts, settings, n_best)
            for row, hypotheses in zip(there.nonzero().flatten().tolist(), decoded, strict=True):
                found[row] = hypotheses
        return found
