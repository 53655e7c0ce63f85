"""`python -m seqsearch_fairseq`: where the plug-in is and what it adds to fairseq, and its scorers on plain files."""

import argparse
import sys
from pathlib import Path

import seqsearch_fairseq

SCORERS = ("chunk_f1", "edit_distance", "tag_accuracy")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m seqsearch_fairseq", description=__doc__)
    parser.add_argument("--user-dir", action="store_true", help="print the folder for fairseq's --user-dir, alone")
    parser.add_argument("--version", action="store_true", help="print the version, alone")
    commands = parser.add_subparsers(dest="command", metavar="score")
    score = commands.add_parser("score", help="score a file of predictions against one of references, line by line")
    score.add_argument("--scoring", required=True, choices=SCORERS, help="BLEU is left to sacrebleu")
    score.add_argument("--ref", required=True, type=Path, metavar="FILE", help="references, a sentence a line")
    score.add_argument("--sys", required=True, type=Path, metavar="FILE", help="predictions, a sentence a line")
    args = parser.parse_args()
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
    from seqsearch_fairseq.data.files import FormatError
    from seqsearch_fairseq.scoring.files import score_files

    try:
        print(score_files(args.scoring, args.ref, args.sys).result_string())
    except (FormatError, OSError) as error:
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
    sys.exit(main())
