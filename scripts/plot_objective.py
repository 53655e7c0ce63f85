"""Draw the training objective along a line in parameter space: how a soft feedback smooths a hard one.

Goyal, Dyer, Berg-Kirkpatrick 2017, figure 1, for a real checkpoint. The line goes from --path to --to, another
checkpoint of the same architecture, or along a random direction (drawn from --seed, each row scaled to the weights'
own). At each point every input is the model's own output: hard (argmax), and soft argmax at each --alpha. The objective
is the gold's cross entropy per target token, in nats. The curves are written as numbers too, beside the picture.
"""

import argparse
import json
import logging
import os
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import torch
from fairseq import checkpoint_utils, tasks
from tqdm import tqdm

import seqsearch_fairseq  # noqa: F401  (registers the tasks, allow-lists the checkpoints' types)
from seqsearch_fairseq.adapters import FairseqStep, encode
from seqsearch_fairseq.algorithms.scheduled_sampling import scheduled_sampling
from seqsearch_fairseq.errors import UsageError


def main() -> int:
    args = parse()
    logging.getLogger().setLevel(logging.WARNING)  # fairseq's import lets everybody's debug messages through
    torch.manual_seed(args.seed)
    model, task = load(args.path, args.data)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    direction = towards(args.to, args.data, start) if args.to else random_direction(start)
    first, last = args.range or ((-0.5, 1.5) if args.to else (-1.0, 1.0))
    places = torch.linspace(first, last, args.points).tolist()
    batch = first_sentences(task, args.split, args.sentences)
    curves = {"argmax": ("argmax", 1.0), **{f"soft argmax, alpha {a:g}": ("soft-argmax", a) for a in args.alpha}}

    values: dict[str, list[float]] = {name: [] for name in curves}
    for place in tqdm(places, desc="points on the line", disable=not sys.stderr.isatty()):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(start[name] + place * direction[name])
            for name, (feedback, alpha) in curves.items():
                values[name].append(objective(model, task, batch, feedback, alpha))
    output = Path(args.output)
    write(output.with_suffix(".json"), lambda path: path.write_text(json.dumps({"places": places, **values}) + "\n"))
    write(output, lambda path: draw(path, places, values, args))
    print(f"wrote {output} and {output.with_suffix('.json')}")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", help="folder that fairseq-preprocess wrote")
    parser.add_argument("--path", required=True, metavar="CHECKPOINT", help="where the line begins, at 0")
    parser.add_argument("--to", metavar="CHECKPOINT", help="what it goes through at 1 (default: a random direction)")
    parser.add_argument("--output", default="objective.png", metavar="PNG", help="default: %(default)s")
    parser.add_argument("--alpha", type=float, nargs="+", default=[1.0, 10.0, 100.0], help="default: 1 10 100")
    parser.add_argument("--range", type=float, nargs=2, metavar=("FIRST", "LAST"), help="part of the line to draw")
    parser.add_argument("--points", type=int, default=101, help="points on it (default: %(default)s)")
    parser.add_argument("--split", default="valid", help="the data's split (default: %(default)s)")
    parser.add_argument("--sentences", type=int, default=32, help="its first sentences (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random direction (default: %(default)s)")
    args = parser.parse_args()
    for name, least in (("points", 2), ("sentences", 1)):
        if getattr(args, name) < least:
            parser.error(f"--{name} must be at least {least}, got {getattr(args, name)}")
    if not all(0 < alpha < float("inf") for alpha in args.alpha):
        parser.error(f"--alpha must be positive numbers, got {args.alpha}")
    if Path(args.output).suffix != ".png":
        parser.error(f"--output must end in .png, got {args.output}")
    for path in filter(None, (args.path, args.to)):
        if not os.path.isfile(path):
            parser.error(f"the checkpoint {path} does not exist")
    return args


def load(path: str, data: str):
    """The model of a checkpoint in evaluation mode, and its task on the folder `data`."""
    state = checkpoint_utils.load_checkpoint_to_cpu(path, {"data": data})
    task = tasks.setup_task(state["cfg"].task)
    if not hasattr(task, "search_candidates"):
        raise UsageError(f"{path} was trained with the task {type(task).__name__}; train it with one of this plug-in's")
    models, _ = checkpoint_utils.load_model_ensemble([path], task=task, state=state)
    return models[0].eval(), task


def towards(path: str, data: str, start: dict) -> dict:
    """From the parameters `start` to those of another checkpoint."""
    end = dict(load(path, data)[0].named_parameters())
    if {name: p.shape for name, p in end.items()} != {name: p.shape for name, p in start.items()}:
        raise UsageError(f"--to {path} has other parameters than --path; both must be of one architecture and data set")
    return {name: end[name].detach() - parameter for name, parameter in start.items()}


def random_direction(start: dict) -> dict:
    """Gaussian, each row as long as the parameters' own row, so that all layers move alike (Li et al. 2018)."""
    found = {}
    for name, parameter in start.items():
        draw = torch.randn_like(parameter)
        rows = (draw, parameter) if parameter.dim() > 1 else (draw.unsqueeze(0), parameter.unsqueeze(0))
        size, wanted = (tensor.flatten(1).norm(dim=1).clamp(min=1e-12) for tensor in rows)
        found[name] = (rows[0] * (wanted / size).view(-1, *[1] * (rows[0].dim() - 1))).view_as(parameter)
    return found


def first_sentences(task, split: str, count: int) -> dict:
    task.load_dataset(split)
    dataset = task.dataset(split)
    return dataset.collater([dataset[i] for i in range(min(count, len(dataset)))])


def objective(model, task, batch: dict, feedback: str, alpha: float) -> float:
    """Cross entropy of the gold per token, every input the model's own."""
    step = FairseqStep(model, encode(model, batch["net_input"]), len(batch["target"]), "logits")
    arguments = feedback, alpha, 0.0, task.search_candidates()
    return (
        float(scheduled_sampling(step, batch["target"], task.search_lengths(batch), *arguments).nll.sum())
        / batch["ntokens"]
    )


def draw(path: Path, places: list[float], values: dict[str, list[float]], args) -> None:
    figure, axes = plt.subplots(figsize=(7, 4.5))
    for name, curve in values.items():
        hard = name == "argmax"
        axes.plot(places, curve, label=name, color="black" if hard else None, linewidth=1.6 if hard else 1.1)
    where = f"to {args.to} (1)" if args.to else f"along a random direction, seed {args.seed}"
    axes.set_xlabel(f"from {args.path} (0)\n{where}", fontsize="small")
    axes.set_ylabel("cross entropy on its own output (nats per token)")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=150, format="png")
    plt.close(figure)


def write(path: Path, make) -> None:
    """Let `make` write a file under a temporary name, then give it its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        make(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
