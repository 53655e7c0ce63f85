"""When this package registers its tasks, criterions, models and scorers with fairseq.

Importing fairseq and torch takes seconds, and most of what this package does beside training needs neither: help texts,
the preparation of data. So `import seqsearch_fairseq` registers at once only where fairseq is loaded already, as under
``--user-dir``. Elsewhere `watch_imports` waits: as soon as any module has imported fairseq, everything
is registered too.
"""

import functools
import importlib
import sys

ROOMS = ("criterions", "models", "scoring", "tasks")


@functools.cache
def register() -> None:
    """Import fairseq and what this package adds to it; let its checkpoints load, and its errors be one sentence.

    Raises:
        ModuleNotFoundError: fairseq is not installed.
    """
    import fairseq  # noqa: F401  as a whole, before the rooms that add to it

    from seqsearch_fairseq import _warnings, checkpoints, errors

    _warnings.hide_known()
    errors.install_excepthook()
    checkpoints.allow_fairseq_types()
    for room in ROOMS:
        importlib.import_module(f"seqsearch_fairseq.{room}")


def is_loaded(name: str) -> bool:
    return sys.modules.get(name) is not None  # None stands for a module that must not be imported


def watch_imports() -> None:
    """Call `register` once fairseq has been imported."""
    sys.meta_path.insert(0, _Watcher())


class _Watcher:
    """A finder that finds what the others find, and notes when the import is over.

    It watches fairseq and this package's own modules. The outermost of these imports counts: a module of this package
    that imports fairseq must be whole before the rooms that need it are imported.
    """

    def __init__(self) -> None:
        self.depth = 0

    def find_spec(self, name, path=None, target=None):
        if name != "fairseq" and not name.startswith("seqsearch_fairseq."):
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = functools.partial(  # type: ignore[method-assign]  # on this one loader, on purpose
                self._execute, spec.loader.exec_module
            )
        return spec

    def _execute(self, execute, module) -> None:
        self.depth += 1
        try:
            execute(module)
        finally:
            self.depth -= 1
        if self.depth == 0 and is_loaded("fairseq") and self in sys.meta_path:
            sys.meta_path.remove(self)
            register()
