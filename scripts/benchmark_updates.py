"""The updates that benchmark.py measures, by kind and size. Not a program of its own."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from benchmark_measures import Cost, Update, bytes_kept, forward_and_backward, median_ratio, times_of
from benchmark_precision import NARROW, costs_changed
from benchmark_problems import Problem, attention_gru, glyphs, lstm, sharpen, tagger
from torch import Tensor

from seqsearch_fairseq.adapters import LOCAL_SCORES, FairseqStep
from seqsearch_fairseq.algorithms.beam_training.beam_search_optimization import beam_search_optimization
from seqsearch_fairseq.algorithms.beam_training.candidates import find_candidates
from seqsearch_fairseq.algorithms.beam_training.global_likelihood import UPDATES, global_likelihood
from seqsearch_fairseq.algorithms.beam_training.minimum_risk import minimum_risk
from seqsearch_fairseq.algorithms.costs import hamming
from seqsearch_fairseq.algorithms.scheduled_sampling import scheduled_sampling
from seqsearch_fairseq.algorithms.searnn.algorithm import Searnn, Settings, searnn
from seqsearch_fairseq.algorithms.searnn.policies import best_suffix_policy, copy_policy
from seqsearch_fairseq.algorithms.searnn.roll_in import Space
from seqsearch_fairseq.algorithms.sequence_costs import FILL, SEQUENCE_COSTS
from seqsearch_fairseq.algorithms.soft_beam import direct_objective, hinge_objective, soft_beam
from seqsearch_fairseq.algorithms.step import first_inputs
from seqsearch_fairseq.models.tagger import TaggerModel

SOFT_BEAM, RIVALS_BEAM = 3, 10


# ---------------------------------------------------------------------------------------------------------- the updates


def teacher_forced(given: Problem) -> Tensor:
    logits = given.model.decoder(given.previous, encoder_out=given.encode(), src_lengths=given.lengths)[0]
    return F.cross_entropy(logits.flatten(0, 1), given.gold.flatten(), reduction="sum")


def step_by_step(given: Problem) -> Tensor:
    """Cross entropy through the loop that scheduled sampling goes through, every input gold."""
    step = given.step("logits")
    state, inputs, total = step.start(1), first_inputs(step, 1), 0.0
    gold_inputs = F.embedding(given.gold, step.embedding).unbind(dim=1)
    for t in range(given.gold.size(1)):
        scores, state = step(inputs, state)
        total = total + F.cross_entropy(scores, given.gold[:, t], reduction="sum")
        inputs = gold_inputs[t]
    return total


def fed_back(given: Problem, feedback: str, alpha: float) -> Tensor:
    arguments = given.gold, given.lengths, feedback, alpha, 0.0, given.candidates
    return scheduled_sampling(given.step("logits"), *arguments).losses.sum()


def searched(
    given: Problem,
    top_k: str,
    alpha: float,
    hinge: bool = False,
    beam_size: int = SOFT_BEAM,
    kernel: str = "torch",
) -> Tensor:
    step = given.step(given.scores)
    costs = hamming(given.gold, len(given.candidates))
    arguments = step, given.lengths, costs, beam_size, alpha, given.candidates, top_k
    found = soft_beam(*arguments, cost_augmented=hinge, kernel=kernel)
    if hinge:
        return hinge_objective(found, alpha, gold_scores(given, step)).sum()
    return direct_objective(found, alpha).sum()


def gold_scores(given: Problem, step: FairseqStep) -> Tensor:
    """(B,) what the gold's local scores sum to under teacher forcing, by the encoder's output that the step has."""
    logits = given.model.decoder(given.previous, encoder_out=step.encoder_out, src_lengths=given.lengths)[0]
    return LOCAL_SCORES[given.scores](logits).gather(2, given.gold.unsqueeze(2)).sum(dim=(1, 2))


def dss_variants(given: Problem) -> dict[str, Update]:
    named: dict[str, Update] = {}
    for feedback in ("soft-argmax", "soft-sample"):
        for alpha in (1.0, 3.0, 10.0):
            named[f"{feedback}, alpha {alpha:g}"] = partial(fed_back, given, feedback, alpha)
    return named | {name: partial(fed_back, given, name, 1.0) for name in ("argmax", "sample")}


def soft_beam_variants(given: Problem) -> dict[str, Update]:
    named: dict[str, Update] = {}
    for top_k in ("squared-distance", "successive"):
        for alpha in (1.0, 10.0, 100.0):
            named[f"direct, {top_k}, alpha {alpha:g}"] = partial(searched, given, top_k, alpha)
    named["hinge, squared-distance, alpha 10"] = partial(searched, given, "squared-distance", 10.0, hinge=True)
    return named


def learned_to_search(given: Problem, settings: Settings, cost: str, policy: str) -> Searnn:
    eos = None if isinstance(given.model, TaggerModel) else given.model.decoder.dictionary.eos()
    space = Space(given.candidates, eos, given.lengths)
    gold = given.gold.masked_fill(given.gold.eq(-1 if eos is None else eos), FILL)
    reference = best_suffix_policy(cost) if policy == "best-suffix" else copy_policy(SEQUENCE_COSTS[cost])
    return searnn(given.step("logits"), gold, given.lengths, space, SEQUENCE_COSTS[cost], reference, settings)


def searnn_searches(given: Problem) -> dict[str, Callable[[], Searnn]]:
    """All tokens of all cells, or five of them; for translation, as many cells as the size's name says.

    Each with roll-outs in the model's own type, and in bfloat16.
    """
    named: dict[str, Callable[[], Searnn]] = {}
    for roll_out in ("learned", "mixed"):
        settings = Settings("learned", roll_out, loss="ll")
        if given.cells is not None:
            mixture = {"top-k": 15, "neighbors": 5}
            settings = settings._replace(loss="kl", scale=200.0, cells=given.cells - 2, mixture=mixture)
            named |= in_both_precisions(given, roll_out, settings, "bleu", "best-suffix")
            continue
        cost = "hamming" if isinstance(given.model, TaggerModel) else "edit"
        named |= in_both_precisions(given, roll_out, settings, cost, "copy")
        few = settings._replace(mixture={"policy": 5})
        named |= in_both_precisions(given, f"{roll_out}, 5 tokens", few, cost, "copy")
    return named


def in_both_precisions(given: Problem, name: str, settings: Settings, cost: str, policy: str):
    narrow = settings._replace(roll_out_precision="bfloat16")
    return {
        name: partial(learned_to_search, given, settings, cost, policy),
        f"{name}{NARROW}": partial(learned_to_search, given, narrow, cost, policy),
    }


def searnn_variants(given: Problem) -> dict[str, Update]:
    return {name: partial(loss_of, search) for name, search in searnn_searches(given).items()}


def loss_of(search: Callable[[], Searnn]) -> Tensor:
    return search().losses.sum()


def over_a_beam(given: Problem, algorithm, scores: str, **options) -> Tensor:
    """`algorithm(step, gold, lengths, scores after each gold prefix, **options)`."""
    step = given.step(scores)
    sentences = torch.arange(len(given.gold), device=given.gold.device)
    gold_scores = step.scores(step.teacher_forced_features(sentences, given.gold))
    return algorithm(step, given.gold, given.lengths, gold_scores, **options).losses.sum()


def risk(given: Problem, method: str) -> Tensor:
    eos = None if isinstance(given.model, TaggerModel) else given.model.decoder.dictionary.eos()

    def algorithm(step, gold, lengths, gold_scores):
        found = find_candidates(step, lengths, RIVALS_BEAM, given.candidates, eos, method)
        return minimum_risk(step, gold, lengths, gold_scores, found, SEQUENCE_COSTS["hamming"], eos=eos)

    return over_a_beam(given, algorithm, "log-probs")


def rival_variants(given: Problem) -> dict[str, Update]:
    beam = {"beam_size": RIVALS_BEAM, "candidates": given.candidates}
    named: dict[str, Update] = {}
    for update in UPDATES:
        options = beam | {"update": update}
        named[f"global likelihood, {update}"] = partial(over_a_beam, given, global_likelihood, "logits", **options)
    named["beam search optimization"] = partial(over_a_beam, given, beam_search_optimization, "logits", **beam)
    return named | {f"minimum risk, {method}": partial(risk, given, method) for method in ("beam", "sample")}


def with_logits(given: Problem) -> Problem:
    return given._replace(scores="logits")


class Work(NamedTuple):
    sizes: dict[str, Callable[[str], Problem]]  # name -> problem on a device
    variants: Callable[[Problem], dict[str, Update]]
    baselines: dict[str, Callable[[Problem], Tensor]]


WORKS = {
    "soft-beam": Work(
        {
            "tagger, V 508, B 32, T 20": lambda device: tagger(508, 256, 64, 32, 20, device),
            "lstm, V 4000, B 32, T 20": lambda device: lstm(4000, 256, 32, 20, device),
            "lstm, V 32000, B 16, T 12": lambda device: lstm(32000, 256, 16, 12, device),
            "lstm, V 32000, B 16, T 12, logits": lambda device: with_logits(lstm(32000, 256, 16, 12, device)),
        },
        soft_beam_variants,
        {"teacher forcing": teacher_forced},
    ),
    "dss": Work(
        {
            "tagger, V 10, B 64, T 20": lambda device: tagger(10, 64, 8, 64, 20, device),
            "lstm, V 10, B 64, T 20": lambda device: lstm(10, 256, 64, 20, device),
            "lstm, V 32000, B 32, T 12": lambda device: lstm(32000, 256, 32, 12, device),
        },
        dss_variants,
        {"the same loop": step_by_step, "teacher forcing": teacher_forced},
    ),
    "searnn": Work(
        {
            "ocr": glyphs,
            "spelling": lambda device: attention_gru(100, 47, 64, 11, None, device),
            "mt-5": lambda device: attention_gru(256, 5000, 16, 15, 5, device),
            "mt-20": lambda device: attention_gru(256, 5000, 16, 15, 20, device),
        },
        searnn_variants,
        {"mle": teacher_forced},
    ),
    "rivals": Work(
        {
            "tagger, V 508, B 32, T 20": lambda device: tagger(508, 256, 64, 32, 20, device),
            "lstm, V 4000, B 32, T 20": lambda device: lstm(4000, 256, 32, 20, device),
        },
        rival_variants,
        {"teacher forcing": teacher_forced},
    ),
}


# -------------------------------------------------------------------------------------------------------- measurement


def measure(
    work: str, size: str, runs: int, seed: int, sharpness: float, device: str, variant: str = ""
) -> Iterator[Cost]:
    """The rows of one size of a work, of the variants whose names hold `variant`."""
    given = prepared(work, size, seed, sharpness, device)
    baselines = {against: partial(baseline, given) for against, baseline in WORKS[work].baselines.items()}
    variants = {label: update for label, update in WORKS[work].variants(given).items() if variant in label}
    updates = baselines | variants
    kept = {label: bytes_kept(update, given.model) for label, update in updates.items()}  # also warms up
    calls = {label: forward_and_backward(update, given.model) for label, update in updates.items()}
    times = times_of(calls, runs, device)
    searches = searnn_searches(given) if work == "searnn" else {}
    for variant in variants:
        changed = costs_changed(searches, variant, seed) if searches else None
        for against in baselines:
            ratio = median_ratio(times[variant], times[against])
            yield Cost(size, variant, against, ratio, kept[variant] / kept[against], changed)


def prepared(work: str, size: str, seed: int, sharpness: float, device: str) -> Problem:
    """The model and batch of a size."""
    torch.manual_seed(seed)
    given = WORKS[work].sizes[size](device)
    sharpen(given, sharpness)
    return given
