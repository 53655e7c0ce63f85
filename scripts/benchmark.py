"""What this costs: an update, as a ratio to cross entropy of the same model in the same run; or preparation and scores.

WORK names what is measured:

  soft-beam  soft_beam_direct and soft_beam_hinge, against teacher-forced cross entropy
  dss        differentiable_scheduled_sampling without any gold input (the dearest case), against cross entropy through
             the same step-by-step loop, and against teacher-forced cross entropy
  searnn     searnn at the sizes of the authors' code, with learned and mixed roll-outs, against teacher-forced cross
             entropy (MLE); sequences are cut at the gold's length, as in that code
  data       preparing a million tokens, against 10 s, and scoring 100,000 labels, against 1 s; its bytes are the
             peak of memory against that of a tenth of the corpus

An update is forward and backward of encoder and decoder on random data, without the optimizer's step. Variants and
baselines are run in turn; a ratio is the median over the turns. Time is CPU time of one thread, or wall time on a GPU;
bytes are what autograd keeps for the backward pass. The models' scores are scaled to a standard deviation of
--sharpness, because those of random weights are far flatter than a trained model's.
"""

import argparse
import json
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import benchmark_data
import torch
import torch.nn.functional as F
from fairseq.data import Dictionary
from fairseq.models.lstm import LSTMDecoder, LSTMEncoder, LSTMModel
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from seqsearch_fairseq.adapters import FairseqStep
from seqsearch_fairseq.algorithms.costs import hamming
from seqsearch_fairseq.algorithms.scheduled_sampling import scheduled_sampling
from seqsearch_fairseq.algorithms.searnn.algorithm import Settings, searnn
from seqsearch_fairseq.algorithms.searnn.policies import best_suffix_policy, copy_policy
from seqsearch_fairseq.algorithms.searnn.rollouts import Space
from seqsearch_fairseq.algorithms.sequence_costs import FILL, SEQUENCE_COSTS
from seqsearch_fairseq.algorithms.soft_beam import direct_objective, hinge_objective, soft_beam
from seqsearch_fairseq.algorithms.step import first_inputs
from seqsearch_fairseq.models.attention_gru import AttentionGRUConfig, AttentionGRUModel
from seqsearch_fairseq.models.tagger import TaggerConfig, TaggerGRUConfig, TaggerModel

SOURCE_WORDS = 1000
DATA = "data"


class Problem(NamedTuple):
    """A model and a batch of sentences that are all of one length."""

    model: torch.nn.Module
    source: Tensor  # (B, T) also the source's length, so that a tagger fits
    gold: Tensor  # (B, T)
    candidates: Tensor  # (V,) bool
    cells: int | None = None  # how many cells of a sentence searnn tries, the two at its end counted; None is all

    @property
    def lengths(self) -> Tensor:
        return torch.full((len(self.gold),), self.gold.size(1), device=self.gold.device)

    @property
    def previous(self) -> Tensor:
        eos = torch.full_like(self.gold[:, :1], self.model.decoder.dictionary.eos())
        return torch.cat([eos, self.gold[:, :-1]], dim=1)

    def encode(self):
        return self.model.encoder(self.source, self.lengths)

    def step(self, scores: str = "log-probs") -> FairseqStep:
        return FairseqStep(self.model, self.encode(), len(self.gold), scores)


Update = Callable[[], Tensor]  # the loss of one update, ready for backward


class Row(NamedTuple):
    work: str
    size: str
    variant: str
    against: str
    time_ratio: float
    bytes_ratio: float | None  # None where bytes are not measured
    runs: int


# --------------------------------------------------------------------------------------------------------------- sizes


def tagger(vocabulary: int, hidden: int, label_embedding: int, batch: int, length: int, device: str) -> Problem:
    words, labels = dictionary(SOURCE_WORDS), dictionary(vocabulary)
    sizes = {"encoder_embed_dim": hidden, "encoder_hidden_size": hidden, "decoder_hidden_size": hidden}
    cfg = TaggerConfig(dropout=0.0, decoder_embed_dim=label_embedding, **sizes)
    model = TaggerModel.build_model(cfg, Namespace(source_dictionary=words, target_dictionary=labels))
    return problem(model, vocabulary, batch, length, labels.nspecial, device)


def glyphs(device: str) -> Problem:
    """The letters of Taskar's OCR data: 26 of them and the end of sentence, as the authors count."""
    cfg = TaggerGRUConfig(
        dropout=0.0, encoder_embed_dim=128, encoder_hidden_size=128, decoder_hidden_size=128, decoder_embed_dim=128
    )
    words, labels = dictionary(SOURCE_WORDS), dictionary(27 + Dictionary().nspecial)
    model = TaggerModel.build_model(cfg, Namespace(source_dictionary=words, target_dictionary=labels))
    given = problem(model, len(labels), 64, 9, labels.nspecial, device)
    given.candidates[: labels.nspecial] = False
    return given


def attention_gru(size: int, vocabulary: int, batch: int, length: int, cells: int | None, device: str) -> Problem:
    words, targets = dictionary(SOURCE_WORDS), dictionary(vocabulary)
    sides = ("encoder_embed_dim", "encoder_hidden_size", "decoder_embed_dim", "decoder_hidden_size")
    cfg = AttentionGRUConfig(dropout=0.0, **dict.fromkeys(sides, size))
    model = AttentionGRUModel.build_model(cfg, Namespace(source_dictionary=words, target_dictionary=targets))
    given = problem(model, vocabulary, batch, length, targets.nspecial, device)
    given.gold[:, -1] = targets.eos()
    return given._replace(cells=cells)


def lstm(vocabulary: int, hidden: int, batch: int, length: int, device: str) -> Problem:
    words, targets = dictionary(SOURCE_WORDS), dictionary(vocabulary)
    encoder = LSTMEncoder(words, hidden, hidden, bidirectional=True, dropout_in=0, dropout_out=0)
    sizes = {"embed_dim": hidden, "hidden_size": hidden, "out_embed_dim": hidden}
    decoder = LSTMDecoder(targets, encoder_output_units=encoder.output_units, dropout_in=0, dropout_out=0, **sizes)
    return problem(LSTMModel(encoder, decoder), vocabulary, batch, length, targets.nspecial, device)


def dictionary(size: int) -> Dictionary:
    built = Dictionary()
    for i in range(size - built.nspecial):
        built.add_symbol(f"t{i}")
    return built


def problem(model, vocabulary: int, batch: int, length: int, specials: int, device: str) -> Problem:
    source = torch.randint(specials, SOURCE_WORDS, (batch, length), device=device)
    gold = torch.randint(specials, vocabulary, (batch, length), device=device)
    candidates = torch.ones(vocabulary, dtype=torch.bool, device=device)
    candidates[model.decoder.dictionary.pad()] = False
    return Problem(model.to(device), source, gold, candidates)


def sharpen(given: Problem, deviation: float) -> None:
    """Scale the output layer so that the scores have this standard deviation."""
    output = given.model.decoder.fc_out
    with torch.no_grad():
        scores = given.model.decoder(given.previous, encoder_out=given.encode(), src_lengths=given.lengths)[0]
        output.weight.mul_(deviation / scores.std())


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


def searched(given: Problem, top_k: str, alpha: float, hinge: bool = False) -> Tensor:
    step = given.step()
    costs = hamming(given.gold, len(given.candidates))
    found = soft_beam(step, given.lengths, costs, 3, alpha, given.candidates, top_k, cost_augmented=hinge)
    if hinge:
        return hinge_objective(found, alpha, -teacher_forced(given) / len(given.gold)).sum()
    return direct_objective(found, alpha).sum()


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


def learned_to_search(given: Problem, settings: Settings, cost: str, policy: str) -> Tensor:
    eos = None if isinstance(given.model, TaggerModel) else given.model.decoder.dictionary.eos()
    space = Space(given.candidates, eos, given.lengths)
    gold = given.gold.masked_fill(given.gold.eq(-1 if eos is None else eos), FILL)
    reference = best_suffix_policy(cost) if policy == "best-suffix" else copy_policy(SEQUENCE_COSTS[cost])
    return searnn(
        given.step("logits"), gold, given.lengths, space, SEQUENCE_COSTS[cost], reference, settings
    ).losses.sum()


def searnn_variants(given: Problem) -> dict[str, Update]:
    """All tokens of all cells, or five of them; for translation, as many cells as the size's name says."""
    named: dict[str, Update] = {}
    for roll_out in ("learned", "mixed"):
        settings = Settings("learned", roll_out, loss="ll")
        if given.cells is not None:
            mixture = {"top-k": 15, "neighbors": 5}
            settings = settings._replace(loss="kl", scale=200.0, cells=given.cells - 2, mixture=mixture)
            named[roll_out] = partial(learned_to_search, given, settings, "bleu", "best-suffix")
            continue
        cost = "hamming" if isinstance(given.model, TaggerModel) else "edit"
        named[roll_out] = partial(learned_to_search, given, settings, cost, "copy")
        few = settings._replace(mixture={"policy": 5})
        named[f"{roll_out}, 5 tokens"] = partial(learned_to_search, given, few, cost, "copy")
    return named


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
}


# -------------------------------------------------------------------------------------------------------- measurement


def main() -> int:
    args = parse()
    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() and not args.cpu else "cpu"
    if not args.json:
        machine = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {args.threads} thread(s)"
        print(f"{args.work} on {machine}, torch {torch.__version__}, {args.runs} runs, sharpness {args.sharpness:g}\n")
        print(f"| {' | '.join(('size', 'variant', 'against', 'time', 'saved bytes'))} |\n|---|---|---|---|---|")
    for row in measure_data(args) if args.work == DATA else measure(args, device):
        if args.json:
            print(json.dumps(row._asdict()), flush=True)
        else:
            ratios = f"{row.time_ratio:.2f} | {'–' if row.bytes_ratio is None else f'{row.bytes_ratio:.2f}'}"
            print(f"| {row.size} | {row.variant} | {row.against} | {ratios} |", flush=True)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=[*WORKS, DATA], metavar="WORK", help=", ".join([*WORKS, DATA]))
    parser.add_argument("--size", default="", metavar="TEXT", help="only sizes whose name holds this text")
    parser.add_argument("--runs", type=int, default=7, help="turns that the median is over (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: %(default)s)")
    parser.add_argument("--sharpness", type=float, default=4.0, help="deviation of the scores (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    parser.add_argument("--json", action="store_true", help="one JSON object a row instead of a table")
    args = parser.parse_args()
    sizes = benchmark_data.sizes() if args.work == DATA else list(WORKS[args.work].sizes)
    if not any(args.size in name for name in sizes):
        parser.error(f"--size must be part of one of: {'; '.join(sizes)}; got {args.size!r}")
    if args.runs < 1 or args.threads < 1:
        parser.error(f"--runs and --threads must be at least 1, got {args.runs} and {args.threads}")
    if not 0 < args.sharpness < float("inf"):
        parser.error(f"--sharpness must be a positive number, got {args.sharpness}")
    return args


def measure_data(args) -> Iterator[Row]:
    for size in (name for name in benchmark_data.sizes() if args.size in name):
        for cost in benchmark_data.measure(size, args.runs, args.seed):
            grown = None if cost.bytes_ratio is None else round(cost.bytes_ratio, 3)
            ratios = {"time_ratio": round(cost.time_ratio, 3), "bytes_ratio": grown}
            yield Row(DATA, **cost._replace(**ratios)._asdict(), runs=args.runs)


def measure(args, device: str) -> Iterator[Row]:
    """Yield the rows of one work."""
    work = WORKS[args.work]
    for size in (name for name in work.sizes if args.size in name):
        torch.manual_seed(args.seed)
        given = work.sizes[size](device)
        sharpen(given, args.sharpness)
        baselines = {against: partial(baseline, given) for against, baseline in work.baselines.items()}
        variants = work.variants(given)
        updates = baselines | variants
        kept = {label: bytes_kept(update, given.model) for label, update in updates.items()}  # also warms up
        times: dict[str, list[float]] = {label: [] for label in updates}
        for _ in range(args.runs):
            for label, update in updates.items():
                times[label].append(seconds(update, given.model, device))
        for variant in variants:
            for against in baselines:
                pairs = zip(times[variant], times[against], strict=True)
                ratios = statistics.median(ours / theirs for ours, theirs in pairs), kept[variant] / kept[against]
                yield Row(args.work, size, variant, against, *(round(ratio, 3) for ratio in ratios), args.runs)


def seconds(update: Update, model: torch.nn.Module, device: str) -> float:
    model.zero_grad(set_to_none=False)
    clock = time.process_time
    if device == "cuda":
        torch.cuda.synchronize()
        clock = time.perf_counter
    begin = clock()
    update().backward()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - begin


def bytes_kept(update: Update, model: torch.nn.Module) -> int:
    """What autograd keeps between forward and backward, parameters left out; each storage counts once."""
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages: dict[int, int] = {}
    held = []  # so that no storage is freed and its address used again

    def pack(tensor: Tensor) -> Tensor:
        held.append(tensor.detach())
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        update().backward()
    return sum(size for address, size in storages.items() if address not in parameters)


if __name__ == "__main__":
    sys.exit(main())
