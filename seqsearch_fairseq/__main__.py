"""`python -m seqsearch_fairseq`: where the plug-in is and what it adds to fairseq."""

import argparse
from pathlib import Path

import seqsearch_fairseq


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m seqsearch_fairseq", description=__doc__)
    parser.add_argument("--user-dir", action="store_true", help="print the folder for fairseq's --user-dir, alone")
    parser.add_argument("--version", action="store_true", help="print the version, alone")
    args = parser.parse_args()
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
    main()
