"""`python -m seqsearch_fairseq diagnose`: the figures of a checkpoint on a validation set, and what they advise."""

import argparse
import logging
import os
import sys

from seqsearch_fairseq.data.preparation import at_least_one
from seqsearch_fairseq.errors import UsageError

NAME = "diagnose"
BEAM = 5
ABOUT = "measure which biases a checkpoint has on a validation set, and say which training addresses them"
TASKS = "--task search_tagging or search_translation"


def add_parser(commands) -> None:
    parser = commands.add_parser(NAME, help=ABOUT, description=ABOUT)
    parser.add_argument("data", metavar="DATA", help="folder that fairseq-preprocess wrote")
    parser.add_argument("--path", required=True, metavar="CHECKPOINT", help=f"a model of {TASKS}")
    parser.add_argument("--gen-subset", default="valid", metavar="SPLIT", help="(default: %(default)s)")
    parser.add_argument(
        "--beam", type=at_least_one, metavar="K", help=f"beam width (default: {BEAM}, or all labels if fewer)"
    )
    parser.add_argument(
        "--sentences", type=at_least_one, metavar="N", help="look at about N sentences of the split (default: all)"
    )
    parser.add_argument(
        "--max-tokens", type=at_least_one, default=2000, metavar="N", help="words of a batch (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")


def run(args: argparse.Namespace) -> int:
    """Measure and print; return the exit status."""
    try:
        report = _report(args)
    except (UsageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report)
    return 0


def _report(args: argparse.Namespace) -> str:
    """The report. torch and fairseq are imported here."""
    import torch
    from fairseq import checkpoint_utils, utils

    from seqsearch_fairseq import checkpoints
    from seqsearch_fairseq.adapters import check_decoder
    from seqsearch_fairseq.data.files import progress
    from seqsearch_fairseq.diagnosis.measures import diagnose
    from seqsearch_fairseq.diagnosis.report import as_json, as_text
    from seqsearch_fairseq.tasks.search_task import SearchTask

    logging.getLogger().setLevel(logging.WARNING)  # fairseq's import lets everybody's messages through
    with checkpoints.loading(args.path):
        (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([args.path], {"data": args.data})
    if not isinstance(task, SearchTask):
        raise UsageError(f"{args.path} must be a checkpoint of {TASKS}, it is of {type(task).__name__}")
    check_decoder(model.decoder)
    count = int(task.search_candidates().sum())
    beam = args.beam or min(BEAM, count)
    if beam > count:
        raise UsageError(f"--beam must be in [1, {count}], the number of candidate tokens, got {beam}")
    use_cuda = torch.cuda.is_available() and not args.cpu
    model = model.eval().float().to("cuda" if use_cuda else "cpu")
    batches = _batches(task, args, model.max_positions())
    moved = (utils.move_to_cuda(batch) if use_cuda else batch for batch in progress(batches, "diagnose", "batches"))
    found = diagnose(task, model, moved, beam)
    return as_json(found) if args.json else as_text(found, f"{args.gen_subset} of {os.path.normpath(args.data)}")


def _batches(task, args: argparse.Namespace, max_positions: tuple[int, ...]) -> list:
    """The split's sentences, or evenly chosen ones, in batches of like length."""
    task.load_dataset(args.gen_subset)
    dataset = task.dataset(args.gen_subset)
    if dataset.tgt is None:
        raise UsageError(f"split '{args.gen_subset}' of {args.data} has no gold side, with which outputs are compared")
    every = max(1, len(dataset) // args.sentences) if args.sentences else 1
    indices, _ = dataset.filter_indices_by_size(dataset.ordered_indices(), max_positions)
    batches = dataset.batch_by_size(indices[::every], max_tokens=args.max_tokens)
    return [dataset.collater([dataset[i] for i in batch]) for batch in batches]
