"""Models that the tests of the algorithms step through: as a `Step` for the code, and as what the oracle reads."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import oracles
import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.costs import TokenCosts, weighted_hamming
from seqsearch_fairseq.algorithms.step import OutputLayer, State

START = 0  # the token whose embedding is the first input


class NoiseFreeStep:
    """What a `Step` without dropout has in common with every other."""

    row_step = None
    teacher_forced = None
    has_noise = False
    rounded_output = None
    rows_share = True
    output = None

    def noise_free(self):
        return nullcontext()

    def inputs_of(self, tokens: Tensor) -> Tensor:
        return self.embedding[tokens]

    def __call__(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        features, state = self.advance(inputs, state)
        return self.scores(features), state

    def teacher_forced_features(self, sentences: Tensor, tokens: Tensor) -> Tensor:
        """(R, L, D), a step at a time."""
        step = self.sentences(sentences.tolist())
        state, inputs, features = step.start(1), step.embedding[step.bos].expand(len(tokens), -1), []
        for t in range(tokens.size(1)):
            now, state = step.advance(inputs, state)
            features.append(now)
            inputs = step.embedding[tokens[:, t].clamp(min=0)]
        return torch.stack(features, dim=1)

    def scores_after(self, gold: Tensor) -> Tensor:
        """(B, T, V) local scores of all tokens after each prefix of `gold` (B, T)."""
        features = self.teacher_forced_features(torch.arange(len(gold)), gold)
        return self.scores(features.flatten(0, 1)).view(*gold.shape, -1)


class TorchRecurrence(NoiseFreeStep):
    """`oracles.random_recurrence` as a `Step`: B sentences share the weights, and each has its own start state.

    Args:
        weights: embedding (V, E), W_x, W_h, b_h, W_c, O, as `oracles.random_recurrence` names them.
        start_h, start_c: (B, H).
    """

    bos = START

    def __init__(self, weights: dict[str, Tensor], start_h: Tensor, start_c: Tensor):
        self.weights, self.start_h, self.start_c = weights, start_h, start_c
        self.batch_size = len(start_h)

    @property
    def embedding(self) -> Tensor:
        return self.weights["embedding"]

    @property
    def output(self) -> OutputLayer:
        return OutputLayer(self.weights["O"], None, True, self.weights["O"].dtype)

    @property
    def parameters(self) -> list[Tensor]:
        """All leaves: the weights, then the two start states."""
        return [*self.weights.values(), self.start_h, self.start_c]

    def start(self, beam_size: int) -> State:
        starts = {"h": self.start_h, "c": self.start_c}
        return State({name: rows.repeat_interleave(beam_size, dim=0) for name, rows in starts.items()})

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        w = self.weights
        h = torch.tanh(inputs @ w["W_x"].T + state.tensors["h"] @ w["W_h"].T + w["b_h"])
        c = 0.5 * state.tensors["c"] + torch.tanh(h @ w["W_c"].T)
        return torch.cat([h, c], dim=1), State({"h": h, "c": c}, state.position + 1)

    def scores(self, features: Tensor) -> Tensor:
        return torch.log_softmax(features @ self.weights["O"].T, dim=1)

    def narrow(self, sentences: Tensor, shared: None) -> tuple["TorchRecurrence", None]:
        return self.sentences(sentences.tolist()), None

    def sentences(self, chosen: Sequence[int]) -> "TorchRecurrence":
        """The same model, for some of the sentences."""
        return TorchRecurrence(self.weights, self.start_h[list(chosen)], self.start_c[list(chosen)])

    def with_parameters(self, parameters: Sequence[Tensor]) -> "TorchRecurrence":
        """The same model with other leaves, in the order of `parameters`."""
        weights = dict(zip(self.weights, parameters[:-2], strict=True))
        return TorchRecurrence(weights, parameters[-2], parameters[-1])

    def gold_scores(self, gold: Tensor, lengths: Tensor) -> Tensor:
        """(B,) sum of the local scores of the first `lengths[b]` tokens of `gold` (B, T), teacher-forced."""
        state, inputs = self.start(1), self.embedding[self.bos].expand(self.batch_size, -1)
        total = self.start_h.new_zeros(self.batch_size)
        for t in range(int(lengths.max())):
            scores, state = self(inputs, state)
            total = total + torch.where(t < lengths, scores.gather(1, gold[:, t : t + 1]).squeeze(1), 0.0)
            inputs = self.embedding[gold[:, t]]
        return total


class Batch(NamedTuple):
    """One problem, for the code under test and for the oracle."""

    step: TorchRecurrence
    models: list[oracles.Recurrence]  # one a sentence
    lengths: Tensor  # (B,)
    gold: Tensor  # (B, T)
    wrong: Tensor  # (V,) weighted Hamming cost
    candidates: Tensor  # (V,) bool

    @property
    def costs(self) -> TokenCosts:
        return weighted_hamming(self.gold, self.wrong)

    @property
    def candidate_list(self) -> list[int]:
        return self.candidates.nonzero().flatten().tolist()

    def gold_of(self, b: int) -> list[int]:
        return self.gold[b, : self.lengths[b]].tolist()

    def token_costs_of(self, b: int) -> np.ndarray:
        """(T_b, V), what the oracle wants."""
        label_cost = dict(enumerate(self.wrong.tolist()))
        return oracles.hamming_costs(self.gold_of(b), len(self.wrong), label_cost)

    def sentences(self, chosen: Sequence[int]) -> "Batch":
        """The same problem, for some of the sentences; gold columns that none of them needs are cut."""
        chosen = list(chosen)
        lengths = self.lengths[chosen]
        return self._replace(
            step=self.step.sentences(chosen),
            models=[self.models[b] for b in chosen],
            lengths=lengths,
            gold=self.gold[chosen, : int(lengths.max())],
        )


def random_batch(
    seed: int,
    lengths: Sequence[int] = (4, 2, 3),
    vocabulary: int = 4,
    masked: Sequence[int] = (),
    label_cost: dict[int, float] | None = None,
    hidden: int = 3,
    embed: int = 2,
    requires_grad: bool = False,
) -> Batch:
    """A random recurrence with a gold sequence a sentence; `masked` tokens are no candidates and never gold."""
    rng = np.random.default_rng(seed)
    model, parameters = oracles.random_recurrence(rng, vocabulary, embed, hidden)
    starts = rng.standard_normal((2, len(lengths), hidden))

    def leaf(array: np.ndarray) -> Tensor:
        return torch.tensor(array, requires_grad=requires_grad)

    weights = {name: leaf(array) for name, array in parameters.items() if not name.startswith("start")}
    wrong = torch.ones(vocabulary, dtype=torch.float64)
    for token, cost in (label_cost or {}).items():
        wrong[token] = cost
    allowed = [v for v in range(vocabulary) if v not in masked]
    start_input = parameters["embedding"][START]
    return Batch(
        step=TorchRecurrence(weights, leaf(starts[0]), leaf(starts[1])),
        models=[model._replace(start_state=[*starts[:, b]], start_input=start_input) for b in range(len(lengths))],
        lengths=torch.tensor(lengths),
        gold=torch.tensor(rng.choice(allowed, size=(len(lengths), max(lengths)))),
        wrong=wrong,
        candidates=torch.tensor([v in allowed for v in range(vocabulary)]),
    )


class PrefixTable(NoiseFreeStep):
    """A `Step` without a network: the scores of the next token are looked up by the whole prefix.

    Args:
        tables: for each position t, (B, V ** t, V); row `code` holds the scores after the prefix that reads as the
            number `code` in base V.
    """

    bos = START

    def __init__(self, tables: Sequence[Tensor]):
        self.tables = tables
        self.batch_size, _, self.vocabulary = tables[0].shape
        self.embedding = torch.eye(self.vocabulary, dtype=tables[0].dtype)

    @classmethod
    def random(cls, seed: int, batch: int, length: int, vocabulary: int) -> "PrefixTable":
        draws = torch.Generator().manual_seed(seed)
        shapes = [(batch, vocabulary**t, vocabulary) for t in range(length)]
        return cls([torch.randn(shape, generator=draws, dtype=torch.float64) for shape in shapes])

    def start(self, beam_size: int) -> State:
        return State({"code": torch.zeros(self.batch_size * beam_size, dtype=torch.long)})

    def scores(self, features: Tensor) -> Tensor:
        return features

    def narrow(self, sentences: Tensor, shared: None) -> tuple["PrefixTable", None]:
        return self.sentences(sentences.tolist()), None

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        code, table = state.tensors["code"], self.tables[min(state.position, len(self.tables) - 1)]
        if state.position > 0:
            code = code * self.vocabulary + inputs.argmax(dim=1)
        rows = torch.arange(self.batch_size).repeat_interleave(len(code) // self.batch_size)
        scores = table[rows, code.clamp(max=table.size(1) - 1)]  # past a sentence's end nobody reads the scores
        return scores, State({"code": code}, state.position + 1)

    def sentences(self, chosen: Sequence[int]) -> "PrefixTable":
        return PrefixTable([table[list(chosen)] for table in self.tables])

    def next_scores(self, b: int) -> oracles.NextScores:
        """Sentence b as the oracle reads it."""

        def scores(prefix: tuple[int, ...]) -> np.ndarray:
            code = 0
            for token in prefix:
                code = code * self.vocabulary + token
            return self.tables[len(prefix)][b, code].numpy()

        return scores


class _Unknown(TorchRecurrence):
    """A decoder that does not tell what its output layer is."""

    output = None


def plainly(batch: Batch) -> Batch:
    """The same problem for the plain form of a step."""
    return batch._replace(step=_Unknown(batch.step.weights, batch.step.start_h, batch.step.start_c))


def smallest_gap(next_scores: oracles.NextScores, length: int, beam_size: int, candidates: Sequence[int]) -> float:
    """How near beam search comes to another choice: the smallest difference between neighbours in its rankings."""
    smallest = float("inf")
    for t in range(length):
        wider = []  # the continuations of the beam's K hypotheses, best first
        for hypothesis in oracles.beam_search(next_scores, t, beam_size, candidates):
            local = next_scores(hypothesis.tokens)
            wider += [hypothesis.score + float(local[token]) for token in candidates]
        best = sorted(wider, reverse=True)[: beam_size + 1]
        smallest = min([smallest, *(high - low for high, low in zip(best, best[1:], strict=False))])
    return smallest


def is_hard(gap: float, alpha: float) -> bool:
    """Whether relaxed search at `alpha` is hard search up to 1e-10: a runner-up keeps exp(-alpha * gap ** 2)."""
    return gap * alpha**0.5 > 5


def hard_batch(seed: int, alpha: float, beam_size: int, **options) -> Batch:
    """A random batch in which no sentence comes near a tie, so that `alpha` is as good as infinite."""
    return first_that(
        lambda draw: random_batch(1000 * seed + draw, **options),
        lambda batch: all(
            is_hard(smallest_gap(oracles.as_prefix_model(model), int(length), beam_size, batch.candidate_list), alpha)
            for model, length in zip(batch.models, batch.lengths, strict=True)
        ),
    )


def first_that(build: Callable[[int], Batch], holds: Callable[[Batch], bool]) -> Batch:
    """The first of `build(0)`, `build(1)`, ... for which `holds` is true."""
    for draw in range(100):
        built = build(draw)
        if holds(built):
            return built
    raise AssertionError("100 draws, and none will do")
