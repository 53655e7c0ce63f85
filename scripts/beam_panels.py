"""The searches of one sentence, as the panels of a picture: what `plot_beam.py` draws."""

from pathlib import Path
from typing import NamedTuple

import torch
from beam_picture import Cell, Panel, Picture
from objective_line import load
from torch import Tensor

from seqsearch_fairseq.adapters import FairseqStep, encode
from seqsearch_fairseq.algorithms.costs import TokenCosts, hamming
from seqsearch_fairseq.algorithms.hard_beam import hard_beam
from seqsearch_fairseq.algorithms.relaxations import peaked_softmax
from seqsearch_fairseq.algorithms.soft_beam import SAME_STATE, beam_distance, direct_objective
from seqsearch_fairseq.algorithms.trace import Trace, trace
from seqsearch_fairseq.errors import UsageError

LEAST_WEIGHT = 0.005  # of a token that is written into a cell: less would read as .00


class Sentence(NamedTuple):
    """What a search needs of a sentence, which is a batch of its own."""

    step: FairseqStep
    length: Tensor  # (1,) steps
    costs: TokenCosts
    candidates: Tensor  # (V,) bool
    names: list[str]  # (V,) the output symbols
    gold: list[int] | None  # tokens; None where the data have none


def search_sentence(args, shown: int, most: int) -> tuple[Picture, list[str]]:
    """Search the sentence that the options of `plot_beam.py` name, and say what they do not.

    Args:
        args: its options.
        shown: how many steps to draw of a longer sentence for which they do not say.
        most: how many can be drawn.

    Raises:
        UsageError: an option does not fit the data or the model.
    """
    model, task = load(args.path, args.data)
    if args.scores != "auto":
        task.cfg.decode_scores = args.scores
    sample = read_sentence(task, model, args.gen_subset, args.sentence)
    sentence = prepare(task, model, sample)
    count = int(sentence.candidates.sum())
    if args.beam > count:
        raise UsageError(f"--beam must be in [1, {count}], the number of candidate tokens, got {args.beam}")
    length = int(sentence.length)
    first, last = part(args.steps, length, shown, most)
    panels = [soft_panel(sentence, args, alpha) for alpha in args.alpha] + [hard_panel(sentence, args.beam)]
    words = [task.source_dictionary.symbols[token] for token in sample["net_input"]["src_tokens"][0]]
    some = "" if (first, last) == (1, length) else f" ({first} to {last} drawn)"
    title = (
        f"Sentence {args.sentence} of {args.gen_subset}: {counted(args.beam, 'beam')}, {counted(length, 'step')}"
        f"{some}; a score is a sum of "
        f"{task.decode_scores}; relaxed top-k: {args.top_k}; model: {Path(args.path).name}"
    )
    picture = Picture(
        title,
        source=None if task.one_label_a_word else " ".join(words[:-1]),  # without the end of sentence
        words=words if task.one_label_a_word else None,
        gold=sentence.gold and [sentence.names[token] for token in sentence.gold],
        panels=panels,
        first=first,
        last=last,
    )
    cut = args.steps is None and last < length
    return picture, [f"steps 1 to {last} of {length} are drawn; --steps FIRST:LAST draws others"] if cut else []


def read_sentence(task, model, split: str, number: int) -> dict:
    """The sentence as a batch of its own."""
    task.load_dataset(split)
    dataset = task.dataset(split)
    if not 0 <= number < len(dataset):
        raise UsageError(f"--sentence must be in [0, {len(dataset) - 1}], the sentences of {split}, got {number}")
    sample = dataset.collater([dataset[number]])
    sizes = [0 if side is None else side.size(1) for side in (sample["net_input"]["src_tokens"], sample["target"])]
    limits = [min(pair) for pair in zip(task.max_positions(), model.max_positions(), strict=True)]
    for size, limit, side in zip(sizes, limits, ("source", "target"), strict=True):
        if size > limit:
            raise UsageError(f"sentence {number} of {split} has {size} {side} tokens; the model takes {limit} at most")
    return sample


def prepare(task, model, sample: dict) -> Sentence:
    candidates, names = task.search_candidates(), task.target_dictionary.symbols
    target = sample["target"]
    if target is None and not task.one_label_a_word:
        raise UsageError(f"{task.cfg.data} holds no gold translations, which say how many steps the search has")
    length = sample["net_input"]["src_lengths"] if target is None else task.search_lengths(sample)
    costs = hamming(target, len(names)) if target is not None else free(int(length), len(names))
    with torch.no_grad():
        step = FairseqStep(model, encode(model, sample["net_input"]), 1, task.decode_scores)
    return Sentence(step, length, costs, candidates, names, None if target is None else target[0].tolist())


def free(length: int, vocabulary: int) -> TokenCosts:
    """No token costs anything: there is no gold sequence."""
    return TokenCosts(torch.zeros(1, length, dtype=torch.long), torch.zeros(vocabulary))


def part(steps: tuple[int, int | None] | None, length: int, shown: int, most: int) -> tuple[int, int]:
    """The first and the last step to draw."""
    if steps is None:
        return 1, min(length, shown)
    first, last = steps[0], length if steps[1] is None else steps[1]
    if not 1 <= first <= last <= length:
        raise UsageError(f"--steps must be FIRST:LAST, a part of the steps 1:{length}, got {first}:{last}")
    if last - first >= most:
        raise UsageError(f"--steps must be at most {most} steps, got {first}:{last}")
    return first, last


# --------------------------------------------------------------------------------------------------------- the panels


def soft_panel(sentence: Sentence, args, alpha: float) -> Panel:
    found = trace(
        sentence.step,
        sentence.length,
        sentence.costs,
        args.beam,
        alpha,
        sentence.candidates,
        args.top_k,
        heaviest=args.tokens,
    )
    if not bool(found.scores.isfinite().all()):
        raise UsageError(f"--alpha {alpha:g}: the scores of this model are no finite numbers there")
    result = found.result
    final = peaked_softmax(result.scores, alpha, result.live)[0]
    best = int(final.argmax())
    ends = [
        end_of(float(result.scores[0, j]), float(result.costs[0, j]), sentence.gold, float(final[j]))
        if result.live[0, j]
        else []
        for j in range(args.beam)
    ]
    return Panel(
        title=f"Relaxed beam, alpha {alpha:g}",
        caption=diversity_of(sentence, found, alpha, args.beam),
        cells=[[soft_cell(sentence, found, t, j) for j in range(args.beam)] for t in range(int(sentence.length))],
        lines=found.backpointers[0].tolist(),
        path=path_to(best, result.beams[0]),
        ends=ends,
        coincide=found.coincide[0].tolist(),
    )


def soft_cell(sentence: Sentence, found: Trace, t: int, j: int) -> Cell | None:
    if not found.live[0, t, j]:
        return None
    weights = zip(found.tokens[0, t, j].tolist(), found.token_weights[0, t, j].tolist(), strict=True)
    kept = [(sentence.names[v], weight, is_gold(sentence, t, v)) for v, weight in weights if weight >= LEAST_WEIGHT]
    return Cell(kept, float(found.scores[0, t, j]))


def hard_panel(sentence: Sentence, beam_size: int) -> Panel:
    found = hard_beam(sentence.step, sentence.length, beam_size, sentence.candidates)
    paid = sentence.costs.of(found.tokens.clamp(min=0)).sum(dim=2)[0].tolist()
    scores, live = found.scores[0].tolist(), found.live[0].tolist()
    columns = zip(found.appended[0].tolist(), found.totals[0].tolist(), strict=True)
    caption = f"best hypothesis: score {scores[0]:.2f}"
    if sentence.gold is not None:
        caption += f", Hamming cost {paid[0]:g} in {len(sentence.gold)} tokens"
    return Panel(
        title="Plain beam search",
        caption=caption,
        cells=[
            [
                Cell([(sentence.names[v], 1.0, is_gold(sentence, t, v))], total) if total > -torch.inf else None
                for v, total in zip(tokens, totals, strict=True)
            ]
            for t, (tokens, totals) in enumerate(columns)
        ],
        lines=torch.nn.functional.one_hot(found.beams[0], beam_size).tolist(),
        path=path_to(0, found.beams[0]),
        ends=[end_of(scores[j], paid[j], sentence.gold) if live[j] else [] for j in range(beam_size)],
        coincide=[False] * int(sentence.length),
    )


def counted(count: int, unit: str) -> str:
    return f"{count} {unit}{'' if count == 1 else 's'}"


def is_gold(sentence: Sentence, t: int, token: int) -> bool:
    return sentence.gold is not None and sentence.gold[t] == token


def end_of(score: float, cost: float, gold: list[int] | None, weight: float | None = None) -> list[str]:
    """What is written beside a final beam."""
    lines = [f"score {score:.2f}"]
    if gold is not None:
        lines.append(f"cost {cost:.2f}")
    return lines if weight is None else [*lines, f"weight {weight:.2f}"]


def diversity_of(sentence: Sentence, found: Trace, alpha: float, beams: int) -> str:
    """A panel's caption: its objective, and whether the beams are still several, as the criterions log it."""
    result, parts = found.result, []
    if sentence.gold is not None:
        parts.append(f"direct objective {float(direct_objective(result, alpha)):.2f}")
    if beams > 1:
        parts.append(f"beam distance {float(beam_distance(result, sentence.length)):.2f} per token")
        collapsed = bool(result.collapsed)
        parts.append(f"collapsed: all states agree to {SAME_STATE:g}" if collapsed else "not collapsed")
        same = int(found.coincide.sum())
        if same:
            parts.append(f"all beams choose the same in {same} of {int(sentence.length)} steps")
    return "; ".join(parts)


def path_to(best: int, backpointers: Tensor) -> list[int]:
    """The row of each step on the way to the final beam `best`, by hard backpointers (T, K)."""
    rows = [best]
    for t in range(len(backpointers) - 1, 0, -1):
        rows.append(int(backpointers[t, rows[-1]]))
    return rows[::-1]
