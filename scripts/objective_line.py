"""The curves of plot_objective.py. Not a program of its own."""

import sys

import torch
from fairseq import checkpoint_utils, tasks
from tqdm import tqdm

from seqsearch_fairseq.adapters import FairseqStep, encode
from seqsearch_fairseq.algorithms.scheduled_sampling import scheduled_sampling
from seqsearch_fairseq.checkpoints import loading
from seqsearch_fairseq.errors import UsageError


def curves(args) -> dict[str, list[float]]:
    """The places on the line, and by the name of each curve the objective there."""
    torch.manual_seed(args.seed)
    model, task = load(args.path, args.data)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    direction = towards(args.to, args.data, start) if args.to else random_direction(start)
    first, last = args.range or ((-0.5, 1.5) if args.to else (-1.0, 1.0))
    places = torch.linspace(first, last, args.points).tolist()
    batch = first_sentences(task, args.split, args.sentences)
    kinds = {"argmax": ("argmax", 1.0), **{f"soft argmax, alpha {a:g}": ("soft-argmax", a) for a in args.alpha}}

    values: dict[str, list[float]] = {name: [] for name in kinds}
    for place in tqdm(places, desc="points on the line", disable=not sys.stderr.isatty()):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(start[name] + place * direction[name])
            for name, (feedback, alpha) in kinds.items():
                values[name].append(objective(model, task, batch, feedback, alpha))
    return {"places": places, **values}


def load(path: str, data: str):
    """The model of a checkpoint in evaluation mode, and its task on the folder `data`."""
    with loading(path):
        state = checkpoint_utils.load_checkpoint_to_cpu(path, {"data": data})
        task = tasks.setup_task(state["cfg"].task, from_checkpoint=True)
    if not hasattr(task, "search_candidates"):
        raise UsageError(f"{path} was trained with the task {type(task).__name__}; train it with one of this plug-in's")
    with loading(path):
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
