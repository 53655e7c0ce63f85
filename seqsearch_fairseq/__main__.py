"""`python -m seqsearch_fairseq`: what the plug-in adds to fairseq; tag, score, diagnose."""

import argparse
import sys
from pathlib import Path

import seqsearch_fairseq
from seqsearch_fairseq.diagnosis import command as diagnose
from seqsearch_fairseq.programs import run_program
from seqsearch_fairseq.tagging import command as tag

SCORERS = ("chunk_f1", "edit_distance", "tag_accuracy", "tagging")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m seqsearch_fairseq", description=__doc__)
    parser.add_argument("--user-dir", action="store_true", help="print the folder for fairseq's --user-dir, alone")
    parser.add_argument("--version", action="store_true", help="print the version, alone")
    commands = parser.add_subparsers(dest="command", metavar="tag, score, diagnose")
    tag.add_parser(commands)
    diagnose.add_parser(commands)
    score = commands.add_parser("score", help="score a file of predictions against one of references, line by line")
    score.add_argument("--scoring", required=True, choices=SCORERS, help="BLEU is left to sacrebleu")
    score.add_argument("--ref", required=True, type=Path, metavar="FILE", help="references, a sentence a line")
    predictions = "predictions, a sentence a line; of several files each score follows the file's name"
    score.add_argument("--sys", required=True, type=Path, nargs="+", metavar="FILE", help=predictions)
    args = parser.parse_args()
    for command in (tag, diagnose):
        if args.command == command.NAME:
            return command.run(args)
    if args.command == "score":
        return _score(args)
    folder = Path(seqsearch_fairseq.__file__).resolve().parent
    if args.user_dir:
        print(folder)
    elif args.version:
        print(seqsearch_fairseq.__version__)
    else:
        print(f"seqsearch-fairseq {seqsearch_fairseq.__version__}")
        print(f"--user-dir {folder}")
        for kind, names in registered().items():
            print(f"{kind}: {', '.join(names)}")
    return 0


def _score(args: argparse.Namespace) -> int:
    from seqsearch_fairseq.errors import UsageError
    from seqsearch_fairseq.scoring.files import score_files

    try:
        for system in args.sys:
            score = score_files(args.scoring, args.ref, system).result_string()
            print(f"{system}: {score}" if len(args.sys) > 1 else score)
    except (UsageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def registered() -> dict[str, list[str]]:
    """What this package registers with fairseq, by kind."""
    from fairseq.criterions import CRITERION_REGISTRY
    from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_REGISTRY
    from fairseq.scoring import SCORER_REGISTRY
    from fairseq.tasks import TASK_REGISTRY

    def ours(registry):
        return sorted(name for name, kind in registry.items() if kind.__module__.startswith("seqsearch_fairseq"))

    archs = ours({**MODEL_REGISTRY, **ARCH_MODEL_REGISTRY}) + list(seqsearch_fairseq.models.translation.ARCHS)
    return {
        "criterions": ours(CRITERION_REGISTRY),
        "tasks": ours(TASK_REGISTRY),
        "archs": sorted(archs),
        "scorers": ours(SCORER_REGISTRY),
        "decoders": list(seqsearch_fairseq.tasks.search_task.DECODERS),
    }


if __name__ == "__main__":
    run_program(main)
