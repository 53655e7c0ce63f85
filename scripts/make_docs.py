"""Write the generated parts of the documents: tables of flags and of options, and the list of scripts.

A generated part stands between two comments. The first one says what it is:

  <!-- flags: soft_beam_direct -->   flags that a criterion, task or model adds to fairseq's, from its dataclass
  <!-- flags: search_tagging without search_translation -->   the same, without those of another
  <!-- options: prepare_tagging.py -->   options of a script, from its parser; also `python -m seqsearch_fairseq`
  <!-- scripts -->   one line for each script
  <!-- end -->

What stands between them is replaced. The texts of flags and options are their help texts: change them there.
"""

import argparse
import ast
import dataclasses
import importlib.util
import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from unittest import mock

from seqsearch_fairseq.programs import run_program

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "seqsearch_fairseq"
MODULE = f"python -m {PACKAGE}"
PART = re.compile(r"^<!-- (flags|options|scripts)(?:: ([^>]+?))? -->\n(.*?)^<!-- end -->$", re.DOTALL | re.MULTILINE)
OPEN = re.compile(r"^<!-- (?:flags|options|scripts)\b", re.MULTILINE)
CODE = re.compile(r"(?<![\w`-])(--[a-z][\w-]*)|(?<!\w)'([^']+)'(?!\w)|(<[^<> ]+>)")
DEFAULT = re.compile(r"\s*\(default: ([^()]*)\)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="*", type=Path, help="README.md, CONTRIBUTING.md and docs/ if none is named")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a document is out of date")
    args = parser.parse_args()
    documents = args.documents or [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
    try:
        outdated = [path for path in documents if update(path, args.check)]
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in outdated:
        print(f"{path.name}: {'out of date, run python scripts/make_docs.py' if args.check else 'written'}")
    return int(args.check and bool(outdated))


def update(path: Path, check: bool) -> bool:
    """Whether the document is not what it should be; it is written unless `check`."""
    text = path.read_text(encoding="utf-8")
    if len(OPEN.findall(text)) != len(PART.findall(text)):
        raise ValueError(f"{path.name}: a generated part has no <!-- end -->")
    made = PART.sub(generated, text)
    if made != text and not check:
        path.write_text(made, encoding="utf-8")
    return made != text


def generated(part: re.Match) -> str:
    kind, name = part[1], part[2]
    heading = part[0].split("\n", 1)[0]
    return "\n".join([heading, "", *KINDS[kind](name), "", "<!-- end -->"])


# --------------------------------------------------------------------------------------------- flags of the dataclasses


def flags(name: str) -> Iterator[str]:
    """A table of the flags that `name` adds to fairseq's, without those of what stands after `without`."""
    name, _, other = name.partition(" without ")
    left_out = {field.name for field in own_fields(other)} if other else set()
    yield "| flag | default | meaning |"
    yield "|---|---|---|"
    for field in own_fields(name):
        if field.name not in left_out:
            flag = f"--{field.name.replace('_', '-')}"
            yield row(flag, code(default_of(field)), described(field.metadata.get("help", ""), choices_of(field.type)))


def own_fields(name: str) -> list[dataclasses.Field]:
    """The fields of a registered dataclass that this package defines.

    Not those that fairseq fills from elsewhere, and not `data`, which is no flag.
    """
    kind = registered(name)
    ours = {
        field
        for base in kind.__mro__
        if base.__module__.startswith(PACKAGE)
        for field in vars(base).get("__annotations__", {})
    }
    return [
        field
        for field in dataclasses.fields(kind)
        if field.name in ours - {"data"} and not field.name.startswith("_") and not str(field.default).startswith("${")
    ]


def registered(name: str) -> type:
    from fairseq.criterions import CRITERION_DATACLASS_REGISTRY
    from fairseq.models import MODEL_DATACLASS_REGISTRY
    from fairseq.tasks import TASK_DATACLASS_REGISTRY

    importlib.import_module(PACKAGE)
    for registry in (CRITERION_DATACLASS_REGISTRY, TASK_DATACLASS_REGISTRY, MODEL_DATACLASS_REGISTRY):
        if name in registry:
            return registry[name]
    raise ValueError(f"flags: {name} is no criterion, task or model with a dataclass")


def choices_of(kind: object) -> list[str]:
    return [str(member.value) for member in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []


def default_of(field: dataclasses.Field) -> str:
    value = field.default
    if value is False:
        return "off"
    if isinstance(value, Enum):
        return str(value.value)
    return f"{value:g}" if isinstance(value, float) else str(value)


# ----------------------------------------------------------------------------------------------- options of the scripts


def options(name: str) -> Iterator[str]:
    """Tables of the options of a script, one for each of its commands."""
    yield from tables(parser_of(name), "" if name == MODULE else f"{name} ")


def tables(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
    rows, commands = [], {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            commands = action.choices
        elif not isinstance(action, argparse._HelpAction) and action.help is not argparse.SUPPRESS:
            text = (action.help or "") % {**vars(action), "prog": parser.prog}
            rows.append(row(spelled(action), option_default(action, text), described(DEFAULT.sub("", text), [])))
    if rows:
        yield from ("| option | default | meaning |", "|---|---|---|", *rows)
    for command, subparser in commands.items():
        yield from ([""] if rows else [])
        yield from (f"`{name}{command}`:", "", *tables(subparser, f"{name}{command} "))
        rows.append("")


def spelled(action: argparse.Action) -> str:
    """The longest name of an option and what follows it."""
    values = "" if action.nargs == 0 else value_name(action)
    return " ".join(filter(None, [max(action.option_strings, key=len, default=""), values]))


def value_name(action: argparse.Action) -> str:
    if action.metavar is None and action.choices is not None:
        name = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        name = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    if isinstance(name, tuple):
        return " ".join(name)
    if isinstance(action.nargs, int):
        return " ".join([name] * action.nargs)
    return {"+": f"{name} ...", "*": f"[{name} ...]", "?": f"[{name}]"}.get(str(action.nargs), name)


def option_default(action: argparse.Action, text: str) -> str:
    """What the parser takes for an option that is not given, or what the help text says of that, in Markdown."""
    value = action.default
    if action.option_strings and action.required:
        return "required"
    if not action.option_strings or value is None or value is False or value in ([], argparse.SUPPRESS):
        said = DEFAULT.search(text)
        return described(said[1], []) if said else ""
    return code(" ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))


class _Found(BaseException):
    """Carries a parser out of the program that made it."""


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser that a script makes, caught as it begins to parse."""

    def caught(parser, *_, **__):
        raise _Found(parser)

    path = ROOT / PACKAGE / "__main__.py" if name == MODULE else ROOT / "scripts" / name
    if not path.is_file():
        raise ValueError(f"options: there is no scripts/{name}")
    spec = importlib.util.spec_from_file_location(f"documented_{path.stem.strip('_')}", path)
    module = importlib.util.module_from_spec(spec)
    with (
        mock.patch.object(argparse.ArgumentParser, "parse_known_args", caught),
        mock.patch.object(sys, "argv", [name]),
        mock.patch.object(sys, "path", [str(ROOT / "scripts"), *sys.path]),
    ):
        try:
            spec.loader.exec_module(module)
            module.main()
        except _Found as found:
            return found.args[0]
    raise ValueError(f"options: {name} parses no command line")


# -------------------------------------------------------------------------------------------------- the list of scripts


def scripts(_: None) -> Iterator[str]:
    """A table of what is below scripts/ and can be run, each with the first line of what it says of itself."""
    yield "| script | what it does |"
    yield "|---|---|"
    for path in sorted(ROOT.glob("scripts/*.py")):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if "__main__" in path.read_text(encoding="utf-8"):
            yield row(f"scripts/{path.name}", first_sentence(said))
    for path in sorted(ROOT.glob("scripts/*.sh")):
        lines = path.read_text(encoding="utf-8").split("\n")
        if lines[0].startswith("#!"):
            said = "\n".join(line.lstrip("# ") for line in lines[1:8] if line.startswith("#"))
            yield row(f"scripts/{path.name}", first_sentence(said))


def first_sentence(text: str) -> str:
    """The first sentence of the first paragraph, without its full stop."""
    return re.split(r"(?<=\.)\s", " ".join(text.split("\n\n", 1)[0].split()), maxsplit=1)[0].rstrip(".")


KINDS = {"flags": flags, "options": options, "scripts": scripts}


# ---------------------------------------------------------------------------------------------------------------- words


def row(name: str, *cells: str) -> str:
    cells = code(name), *cells
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def described(text: str, choices: list[str]) -> str:
    """A help text in Markdown, with the choices where it does not name them all."""
    missing = choices and not all(re.search(rf"(?<![\w-]){re.escape(choice)}(?![\w-])", text) for choice in choices)
    marked = CODE.sub(lambda found: f"`{found[1] or found[2] or found[3]}`", text)
    return marked + (f". One of {', '.join(f'`{choice}`' for choice in choices)}" if missing else "")


if __name__ == "__main__":
    run_program(main)
