"""Problems of the oracle, and small ones by hand, as the beam decoder takes them."""

import math
from dataclasses import replace
from typing import NamedTuple

import beam_decoder_oracle as oracle
import torch
from beam_decoder_cases import Case
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.arpa import read_arpa
from seqsearch_fairseq.algorithms.beam_decoder.language_models import LanguageModel, NoLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.lexicon import Lexicon
from seqsearch_fairseq.algorithms.beam_decoder.ngrams import NgramLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.recurrent import RecurrentLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.scoring import Weights
from seqsearch_fairseq.algorithms.beam_decoder.topologies import Graph, asg, ctc

UNLIMITED = 10_000

BIGRAM = r"""\data\
ngram 1=5
ngram 2=4

\1-grams:
-1.2 <unk> -0.1
-99 <s> -0.4
-0.9 </s>
-0.7 a -0.3
-0.5 ab -0.2

\2-grams:
-0.2 <s> a
-0.3 a ab
-0.6 ab a
-0.4 ab </s>

\end\
"""


def graph_of(problem: oracle.Problem) -> tuple[Lexicon, Graph]:
    lexicon = Lexicon.build(problem.lexicon)
    unit_count = problem.emissions.size(1)
    if problem.blank is None:
        return lexicon, asg(lexicon, unit_count, problem.silence)
    return lexicon, ctc(lexicon, unit_count, problem.blank, problem.silence)


def language_model_of(case: Case, lexicon: Lexicon) -> LanguageModel:
    return NoLanguageModel() if case.arpa is None else ngram(case.arpa, lexicon)


def ngram(arpa: str, lexicon: Lexicon, trainable: bool = True) -> NgramLanguageModel:
    return NgramLanguageModel(read_arpa(arpa.splitlines(), "lm.arpa"), lexicon.words, trainable).double()


def weights_of(problem: oracle.Problem) -> Weights:
    return Weights(problem.lm_weight, problem.word_score, problem.silence_score, problem.transitions)


def shortened(words: tuple[str, ...], ngrams: oracle.NGrams) -> tuple[str, ...]:
    """The longest end of a history that matters: something follows it, or its back-off weight is not 0."""
    begins = {ngram[:end] for ngram in ngrams for end in range(1, len(ngram))}
    weighs = {ngram for ngram, (_, backoff) in ngrams.items() if torch.as_tensor(backoff).detach() != 0}
    return next(end for end in oracle.ends_of(words) if not end or (end in ngrams and end in begins | weighs))


class Shortest(oracle.NGramLM):
    """Merges all histories that the model need not tell apart."""

    def start(self):
        return shortened(super().start(), self.ngrams)

    def after(self, state, word):
        return shortened(super().after(state, word), self.ngrams)


def with_shortest_states(problem: oracle.Problem) -> oracle.Problem:
    return problem if isinstance(problem.lm, oracle.NoLM) else replace(problem, lm=Shortest(problem.lm.ngrams))


class Batch(NamedTuple):
    """Sentences of several lengths over the words a (a), ab (a b), ab (b b) and b| (b |)."""

    emissions: Tensor  # (B, T, U), units blank a b |
    lengths: Tensor
    words: Tensor  # (B, M)
    graph: Graph
    language_model: NgramLanguageModel
    weights: Weights


def batch(topology: str = "ctc", dtype: torch.dtype = torch.float64, seed: int = 0) -> Batch:
    """The words are numbered a 0, ab 1, b| 2. One transcription is empty, another has more units than frames."""
    doubled = [2, 2] if topology == "ctc" else [2, 1, 2]
    lexicon = Lexicon.build([("a", [1]), ("ab", [1, 2]), ("ab", doubled), ("b|", [2, 3])])
    draw = torch.Generator().manual_seed(seed)
    emissions = 2 * torch.randn(4, 9, 4, generator=draw, dtype=torch.float64)
    transitions = torch.randn(4, 4, generator=draw, dtype=torch.float64)
    if topology == "ctc":
        emissions, transitions = emissions.log_softmax(2), None
    graph = ctc(lexicon, 4, 0, silence=3) if topology == "ctc" else asg(lexicon, 4, silence=3)
    return Batch(
        emissions.to(dtype),
        torch.tensor([9, 5, 2, 7]),
        torch.tensor([[0, 1, 2], [-1, -1, -1], [1, 1, -1], [2, 0, -1]]),
        graph,
        ngram(BIGRAM, lexicon),
        Weights(lm=0.8, word=-0.3, silence=0.4, transitions=transitions),
    )


class ByHistory:
    """A recurrent model as the oracle asks it: each history from its first word, softmax over all words."""

    def __init__(self, model: RecurrentLanguageModel, numbers: dict[str, int]):
        self.model, self.numbers = model, numbers

    def start(self):
        return ()

    def after(self, state, word):
        return (*state, word)

    def log_probs(self, state):
        read = torch.tensor([self.model.end, *(self.numbers[word] for word in state)])
        hidden, _ = self.model.lstm(self.model.embedding(read))
        return self.model.output(hidden[-1]).log_softmax(0) / math.log(10)

    def score(self, state, word):
        return self.log_probs(state)[self.numbers[word]]

    def end(self, state):
        return self.log_probs(state)[self.model.end]
