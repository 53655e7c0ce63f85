"""The search of one utterance: what `plot_recognition.py utterance` draws."""

import argparse
from collections.abc import Mapping
from typing import NamedTuple

import torch
from recognition_checkpoint import load
from recognition_picture import Moment, Search
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.alignments import best_alignments
from seqsearch_fairseq.algorithms.beam_decoder.scoring import Problem, build_problem
from seqsearch_fairseq.algorithms.beam_decoder.search import Frame, Settings, search
from seqsearch_fairseq.algorithms.beam_decoder.topologies import NO_WORD
from seqsearch_fairseq.emissions import emit
from seqsearch_fairseq.errors import UsageError


def search_utterance(args: argparse.Namespace, weights: Mapping[str, float | None]) -> Search:
    """Search the utterance that the options of `plot_recognition.py utterance` name.

    Args:
        weights: of the decoder, None for the checkpoint's.

    Raises:
        UsageError: an option does not fit the data or the model, or the utterance has a word that the lexicon lacks.
    """
    model, task = load(args)
    model = model.eval().float()
    task.load_dataset(args.gen_subset)
    dataset = task.dataset(args.gen_subset)
    if not 0 <= args.utterance < len(dataset):
        raise UsageError(
            f"--utterance must be in [0, {len(dataset) - 1}], those of {args.gen_subset}, got {args.utterance}"
        )
    sample = dataset.collater([dataset[args.utterance]])
    if sample["target"] is None:
        raise UsageError(f"split '{args.gen_subset}' of {args.data} has no transcriptions, and the gold is drawn")
    gold = sample["words"][0].split()
    task.lexicon.check([" ".join(gold)], f"--utterance {args.utterance}")
    emissions = emit([model], sample["net_input"])
    decoder = model.beam_decoder
    device = emissions.log_probs.device
    given = {name: value for name, value in weights.items() if value is not None}
    parts = decoder.graph(device), decoder.scorer(device), decoder.weights(given)
    problem = build_problem(emissions.log_probs, emissions.lengths, *parts)
    [aligned] = best_alignments(problem, task.word_numbers(sample["words"]))
    moments = moments_of(problem, Settings(args.recognition_beam_size), task)
    values = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in decoder.values(given).items())
    values = values.replace("lm ", "LM ")
    source = next(value for name, value in sample["net_input"].items() if "lengths" not in name and value.dim() > 1)
    return Search(
        title=f"Utterance {args.utterance} of {args.gen_subset}, a beam of {args.recognition_beam_size}; {values}",
        seen=source[0].numpy() if source.dim() == 3 else None,
        probabilities=emissions.log_probs[0].exp().numpy(),
        units=[name_of(task, unit) for unit in range(emissions.log_probs.size(2))],
        gold_path=None if aligned is None else aligned.units,
        gold_ends=None if aligned is None else [aligned.behind.index(count + 1) for count in range(len(gold))],
        gold=gold,
        moments=moments,
    )


def name_of(task, unit: int) -> str:
    return "blank" if unit == task.blank else task.dictionary[unit]


class _Link(NamedTuple):
    """How each hypothesis of a frame came about, by its best arc."""

    sources: list[int]  # hypotheses before the frame
    words: list[int]  # or NO_WORD
    units: list[int]
    nodes: list[int]  # of the prefix tree, where they are
    best: int  # which of them has the largest score


def moments_of(problem: Problem, settings: Settings, task) -> list[Moment]:
    """The best hypothesis of each frame, complete or not, on the best path to it."""
    links = [_link(problem, frame) for frame in search(problem, settings)]
    return [_read_back(links[: t + 1], task) for t in range(len(links))]


def _link(problem: Problem, frame: Frame) -> _Link:
    """The arc of each hypothesis that brings most."""
    arcs, beam, graph = frame.arcs, frame.beam, problem.graph
    order = arcs.scores.argsort(stable=True)  # the best of a hypothesis is written last
    chosen: dict[int, int] = dict(zip(arcs.targets[order].tolist(), order.tolist(), strict=True))
    picked = torch.tensor([chosen[hypothesis] for hypothesis in range(len(beam.scores))], dtype=torch.long)
    in_graph: Tensor = arcs.in_graph[picked]
    return _Link(
        arcs.sources[picked].tolist(),
        graph.words[in_graph].tolist(),
        graph.target_units[in_graph].tolist(),
        graph.nodes[beam.places].tolist(),
        int(beam.scores.argmax()),
    )


def _read_back(links: list[_Link], task) -> Moment:
    """The words on the path, and the units of the word that is not complete: a unit where its node changes."""
    here = links[-1].best
    words: list[str] = []
    begun: list[str] = []
    in_word = links[-1].nodes[here] != 0
    for t in reversed(range(len(links))):
        link = links[t]
        before = links[t - 1].nodes[link.sources[here]] if t > 0 else 0
        if link.words[here] != NO_WORD:
            words.append(task.word(link.words[here]))
            in_word = False
        elif in_word and link.nodes[here] != before:
            begun.append(task.dictionary[link.units[here]])
            in_word = before != 0
        here = link.sources[here]
    return Moment(words[::-1], "".join(reversed(begun)))
