"""The score of A(y): all paths whose words are y, with all spellings of its words and all silences.

The states are those of a small graph: the lexicon's places that a path of y can be at, each with the number of words
that are behind it. The sum runs over the frames forwards (a: what leads to a state) and backwards (b: what leads on
from it, the state's own frame included) at once, so that the share of a state is exp(a + b - emission - score). The
language model's terms are the same for all paths of y.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.language_models import END
from seqsearch_fairseq.algorithms.beam_decoder.lexicon import expand
from seqsearch_fairseq.algorithms.beam_decoder.scoring import PathSum, Problem, WordTerms, log_add, log_add_columns
from seqsearch_fairseq.algorithms.beam_decoder.topologies import NO_WORD, START, Graph

PAD = -1  # after a transcription's end


class Alignments(NamedTuple):
    paths: PathSum
    keys: list[Tensor]  # of each frame: the states that a path of A(y) is in, packed as hypotheses are


@torch.no_grad()
def align(problem: Problem, words: Tensor, with_shares: bool) -> Alignments:
    """Sums over all alignments of transcriptions.

    Args:
        words: (B, M) word numbers, PAD after a transcription's end; M may be 0.
        with_shares: for the gradient.

    Raises:
        ValueError: `words` has the wrong shape, a number that is no word's, or a word after PAD.
    """
    _check(problem, words)
    said = _read(problem, words)
    states = _states(problem.graph, words)
    sums = _sums(problem, states)
    ends = (states.is_end & sums.alive.any(dim=0)).nonzero().squeeze(1)
    last = sums.forwards[problem.lengths[states.sentences[ends]] - 1, ends]
    heard = log_add(last, states.sentences[ends], problem.batch_size)  # (B,)
    scores = heard + _word_scores(problem, said)
    units = transitions = None
    if with_shares:
        norms = torch.where(heard > -torch.inf, heard, 0.0)
        units = _unit_shares(problem, states, sums, norms)
        if problem.weights.transitions is not None:
            paid = _transitions(problem.weights.transitions, problem.graph, states)
            transitions = _transition_counts(problem, states, sums, paid - norms[states.sentences[states.sources]])
    histories = said.states[states.sentences, states.behind]
    keys = problem.pack(states.sentences, states.places, histories)
    frames, alive = sums.alive.nonzero().unbind(dim=1)
    counts = torch.bincount(frames, minlength=len(sums.alive)).tolist()
    return Alignments(PathSum(scores, said.terms, units, transitions), list(keys[alive].split(counts)))


class BestAlignment(NamedTuple):
    """The best of all paths of A(y)."""

    score: float
    units: list[int]  # of each frame, blank and silence among them
    behind: list[int]  # of each frame: how many words are behind, one that ends with the frame among them


@torch.no_grad()
def best_alignments(problem: Problem, words: Tensor) -> list[BestAlignment | None]:
    """The Viterbi path of each transcription; None where it has no path. Of equal paths it may be any.

    Args:
        words: as for `align`.

    Raises:
        ValueError: as `align` does.
    """
    _check(problem, words)
    said_scores = _word_scores(problem, _read(problem, words))
    states = _states(problem.graph, words)
    size = len(states.places)
    sources, weights = _incoming(problem, states)
    if len(sources) == 0:  # no state can be left
        return [None] * problem.batch_size
    sources = sources[:, :size].clamp(max=size)  # only forwards
    own_units = problem.graph.units[states.places].clamp(min=0)
    best = problem.emissions.new_full((size + 1,), -torch.inf)
    best[:-1][states.is_start] = 0.0
    totals, came_from = [], []  # of each frame: (S,)
    for t in range(int(problem.lengths.max())):
        brought = best[sources] if weights is None else best[sources] + weights[:, :size]
        most, which = brought.max(dim=0)
        best[:-1] = most + problem.emissions[states.sentences, t, own_units]
        totals.append(best[:-1].clone())
        came_from.append(sources.gather(0, which.unsqueeze(0)).squeeze(0))
    found: list[BestAlignment | None] = []
    for sentence, length in enumerate(problem.lengths.tolist()):
        ends = (states.is_end & (states.sentences == sentence)).nonzero().squeeze(1)
        last = totals[length - 1][ends]
        if not bool((last > -torch.inf).any()):
            found.append(None)
            continue
        path = [int(ends[last.argmax()])]
        for t in reversed(range(1, length)):
            path.append(int(came_from[t][path[-1]]))
        path.reverse()
        score = last.max() + said_scores[sentence] + problem.offsets[sentence]
        found.append(BestAlignment(float(score), own_units[path].tolist(), states.behind[path].tolist()))
    return found


def _check(problem: Problem, words: Tensor) -> None:
    if words.dim() != 2 or len(words) != problem.batch_size:
        raise ValueError(f"`words` must be ({problem.batch_size}, M), got {tuple(words.shape)}")
    count = problem.graph.word_count
    if words.numel() and not PAD <= int(words.min()) <= int(words.max()) < count:
        raise ValueError(f"`words` must be in [0, {count - 1}], or {PAD} after a transcription's end")
    if bool(((words[:, :-1] == PAD) & (words[:, 1:] != PAD)).any()):
        raise ValueError(f"`words` must have {PAD} only after a transcription's end")


class _Read(NamedTuple):
    terms: WordTerms
    states: Tensor  # (B, M + 1) of the language model, after that many words


def _read(problem: Problem, words: Tensor) -> _Read:
    """What the language model says of the transcriptions."""
    reading = problem.reading
    states = torch.full((len(words), words.size(1) + 1), reading.start, device=words.device)
    parts = []
    for place in range(words.size(1)):
        states[:, place + 1] = states[:, place]
        going = (words[:, place] != PAD).nonzero().squeeze(1)
        before, spoken = states[going, place], words[going, place]
        said = reading.advance(before, spoken)
        states[going, place + 1] = said.states
        parts.append((going, before, spoken, said.scores))
    everyone, end = torch.arange(len(words), device=words.device), torch.full_like(states[:, -1], END)
    parts.append((everyone, states[:, -1], end, reading.scores(states[:, -1], end)))
    sentences, before, spoken, scores = (torch.cat(column) for column in zip(*parts, strict=True))
    shares = torch.ones_like(scores, dtype=problem.emissions.dtype)
    return _Read(WordTerms(sentences, before, spoken, scores, shares), states)


def _word_scores(problem: Problem, said: _Read) -> Tensor:
    """(B,) what all paths of a transcription pay for its words and its end."""
    terms = problem.lm_terms(said.terms.scores, word_score=False) + problem.weights.word * said.terms.words.ne(END)
    return torch.zeros_like(problem.offsets).index_add(0, said.terms.sentences, terms.to(problem.offsets.dtype))


class _States(NamedTuple):
    """The states of all sentences, sentence by sentence, and the arcs between them.

    The first state of a sentence is START, which no frame comes to. Backwards it stands for the end.
    """

    sentences: Tensor  # (S,)
    behind: Tensor  # (S,) how many words are behind
    places: Tensor  # (S,)
    is_start: Tensor  # (S,) bool
    is_end: Tensor  # (S,) bool: at the root, and all words are behind
    sources: Tensor  # (A,) states
    targets: Tensor  # (A,) states


def _states(graph: Graph, words: Tensor) -> _States:
    levels, count = words.size(1) + 1, graph.place_count
    sentence, place = (words != PAD).nonzero().unbind(dim=1)
    spoken = words[sentence, place]
    rows = sentence * levels + place  # one for each sentence and number of words that are behind
    first_rows = levels * torch.arange(len(words), device=words.device)

    owners, inner = graph.inner_places.expand(spoken)
    enders, last = graph.last_places.expand(spoken)
    every_row = torch.cat([first_rows, rows + 1])
    keys = [
        first_rows * count + START,
        (every_row.unsqueeze(1) * count + graph.resting_places).flatten(),
        rows[owners] * count + inner,
        (rows[enders] + 1) * count + last,
    ]
    keys = torch.cat(keys).unique()
    rows, places = keys // count, keys % count
    sentences, behind = rows // levels, rows % levels

    sources, arcs = expand(graph.first_arcs[places], graph.degrees[places])
    padded = torch.nn.functional.pad(words, (0, 1), value=PAD)
    following, paid = padded[sentences, behind][sources], graph.words[arcs]
    wanted = (rows[sources] + (paid != NO_WORD)) * count + graph.targets[arcs]
    targets = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    allowed = (keys[targets] == wanted) & ((paid == NO_WORD) | (paid == following))
    is_start = places == START
    is_end = graph.at_root[places] & ~is_start & (behind == (words != PAD).sum(dim=1)[sentences])
    return _States(sentences, behind, places, is_start, is_end, sources[allowed], targets[allowed])


class _Sums(NamedTuple):
    """-inf where no path is, and after a sentence's last frame."""

    emissions: Tensor  # (T, S)
    forwards: Tensor  # (T, S) log-add over what leads to a state, its own frame included
    backwards: Tensor  # (T, S) over what leads on from it to the end, its own frame included
    alive: Tensor  # (T, S) bool: a path of A(y) goes through


def _sums(problem: Problem, states: _States) -> _Sums:
    size = len(states.places)
    length = int(problem.lengths.max())
    frames = torch.arange(length, device=states.places.device).unsqueeze(1)  # (T, 1)
    lengths = problem.lengths[states.sentences]  # (S,)
    mirrored = lengths - 1 - frames  # (T, S)
    own_units = problem.graph.units[states.places].clamp(min=0)  # nothing comes to START
    emissions = problem.emissions[states.sentences, :, own_units].t()[:length]  # (T, S)
    both = torch.cat([emissions, emissions.gather(0, mirrored.clamp(min=0))], dim=1)  # (T, 2 * S)

    sources, weights = _incoming(problem, states)
    sums = both.new_full((length + 1, 2 * size + 1), -torch.inf)  # its first row is before the first frame
    start = states.is_start.nonzero().squeeze(1)
    sums[0, start] = sums[0, size + start] = 0.0
    for t in range(length):
        brought = sums[t].index_select(0, sources.flatten()).view(sources.shape)
        if weights is not None:
            brought += weights
        torch.add(log_add_columns(brought), both[t], out=sums[t + 1, :-1])
    outside = mirrored < 0
    forwards = sums[1:, :size].masked_fill(outside, -torch.inf)
    backwards = sums[1:, size:-1].gather(0, mirrored.clamp(min=0)).masked_fill(outside, -torch.inf)
    return _Sums(emissions, forwards, backwards, forwards.isfinite() & backwards.isfinite())


def _incoming(problem: Problem, states: _States) -> tuple[Tensor, Tensor | None]:
    """Where the sums of a frame come from: places in those of the frame before, (D, 2 * S), and what is added.

    The first S columns go forwards and the others backwards; a place without a source holds -inf.
    """
    size, device = len(states.places), states.places.device
    ends = states.is_end.nonzero().squeeze(1)
    starts = states.is_start.nonzero().squeeze(1)[states.sentences[ends]]
    inner = ~states.is_start[states.sources]
    after, before = states.targets[inner], states.sources[inner]
    owners = torch.cat([states.targets, size + before, size + ends])
    origins = torch.cat([states.sources, size + after, size + starts])
    order = torch.argsort(owners, stable=True)
    counts = torch.bincount(owners, minlength=2 * size)
    rank, column = torch.arange(len(owners), device=device), owners[order]
    rank = rank - (counts.cumsum(0) - counts)[column]
    sources = torch.full((int(counts.max()), 2 * size), 2 * size, device=device)
    sources[rank, column] = origins[order]
    if problem.weights.transitions is None:
        return sources, None
    paid = problem.emissions.new_zeros(len(owners))
    own = _transitions(problem.weights.transitions, problem.graph, states)
    paid[: len(own)] = own
    paid[len(own) : len(own) + len(before)] = own[inner]
    weights = problem.emissions.new_zeros(sources.shape)
    weights[rank, column] = paid[order]
    return sources, weights


def _transitions(transitions: Tensor, graph: Graph, states: _States) -> Tensor:
    """(A,) g of each arc; 0 where it leaves START."""
    units = graph.units[states.places]
    paid = transitions[units[states.sources], units[states.targets]]
    return paid.masked_fill(states.is_start[states.sources], 0.0)


def _unit_shares(problem: Problem, states: _States, sums: _Sums, norms: Tensor) -> Tensor:
    """(B, T, U)"""
    frames, alive = sums.alive.nonzero().unbind(dim=1)
    sentences = states.sentences[alive]
    score = sums.forwards[frames, alive] + sums.backwards[frames, alive] - sums.emissions[frames, alive]
    shares = torch.zeros_like(problem.emissions)
    units = problem.graph.units[states.places[alive]]
    return shares.index_put_((sentences, frames, units), (score - norms[sentences]).exp(), accumulate=True)


def _transition_counts(problem: Problem, states: _States, sums: _Sums, own: Tensor) -> Tensor:
    """(B, U, U); what is each arc's own (A,) beside the sums of its ends."""
    score = sums.forwards[:-1].index_select(1, states.sources) + sums.backwards[1:].index_select(1, states.targets)
    sentences, units = states.sentences[states.sources], problem.graph.units[states.places]
    counts = (score + own).exp().sum(dim=0)  # (A,)
    total = problem.emissions.new_zeros(problem.batch_size, problem.graph.unit_count, problem.graph.unit_count)
    inner = ~states.is_start[states.sources]
    places = sentences[inner], units[states.sources[inner]], units[states.targets[inner]]
    return total.index_put_(places, counts[inner], accumulate=True)
