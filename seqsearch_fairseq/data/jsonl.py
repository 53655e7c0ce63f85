"""JSON lines: an object a line, with a list of tokens and lists of as many tags, as Hugging Face exports its data sets.

    {"id": "0", "tokens": ["It", "rains"], "pos_tags": ["PRON", "VERB"]}

A list that has a string or a whole number for each token is a column, whose name is its key. Numbers are ids of labels.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from seqsearch_fairseq.data.columns import Sentence
from seqsearch_fairseq.data.files import FormatError, read_lines

TOKENS = ("tokens", "words")  # keys of the tokens, as data sets have them
TAGS = ("tags", "ner_tags", "pos_tags", "chunk_tags", "labels")  # likewise of the labels
PREDICTED = "predicted"


def read_jsonl(lines: Iterable[str], name: str) -> Iterator[Sentence]:
    """Yield the sentences of a file of JSON lines, as a stream. Blank lines and objects without tokens are none.

    Raises:
        FormatError: a line that is no JSON object, or has no list of strings as `tokens` or `words`.
    """
    for number, text in enumerate(lines, 1):
        if not text or text.isspace():
            continue
        entry, where = _object(text, f"{name}, line {number}"), f"{name}, line {number}"
        key = next((key for key in TOKENS if key in entry), None)
        if key is None:
            raise FormatError(f"{where}: the object must have the key 'tokens' or 'words', it has {_names(entry)}")
        tokens = entry[key]
        if not isinstance(tokens, list):
            raise FormatError(f"{where}: {key!r} must be a list of strings, got {tokens!r:.40}")
        wrong = [token for token in tokens if not isinstance(token, str)]
        if wrong:
            raise FormatError(f"{where}: {key!r} must be a list of strings, and holds {wrong[0]!r:.40}")
        if tokens:
            yield _sentence(entry, len(tokens), number)


def _sentence(entry: Mapping, length: int, number: int) -> Sentence:
    missing = {key: reason for key, value in entry.items() if (reason := _reason(value, length))}
    columns = {key: value for key, value in entry.items() if key not in missing}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return Sentence([number] * length, rows, missing)


def _reason(value: object, length: int) -> str | None:
    """Why a value is no column; None if it is one."""
    if not isinstance(value, list):
        return f"it is no list, but {value!r:.40}"
    if len(value) != length:
        return f"it has {len(value)} values, and there are {length} tokens"
    wrong = next((item for item in value if not isinstance(item, str | int) or isinstance(item, bool)), None)
    if wrong is not None or None in value:
        return f"it holds {wrong!r:.40}, which is neither a string nor a whole number"
    return None


def label_key(sentence: Sentence, word: str, name: str) -> str:
    """The key of the labels, where the user names none: the only usual one, else the only column beside the words.

    Raises:
        FormatError: there are several, or none.
    """
    columns = [key for key in sentence.rows[0] if key != word]
    candidates = [key for key in columns if key in TAGS] or columns
    where = sentence.where(name, 0)
    if not candidates:
        why = "".join(f"; {key!r}: {reason}" for key, reason in sentence.missing.items() if key in TAGS)
        raise FormatError(f"{where}: no list has a label for each token, the keys are {_all(sentence)}{why}")
    if len(candidates) > 1:
        raise FormatError(f"{where}: {_names(candidates)} may be the labels; choose with --label-column KEY")
    return candidates[0]


def label_names(text: str) -> list[str]:
    """The names of label ids, from 0: `O,B-X,I-X`; or the name of a file with a name a line, or with a JSON list.

    Raises:
        FormatError: no name at all, an empty one, or one twice.
    """
    path = Path(text)
    if path.is_file():
        lines = list(read_lines(path))
        found = _json_list("\n".join(lines), text) if "".join(lines).lstrip().startswith("[") else lines
        while found and not found[-1].strip():
            found = found[:-1]
    else:
        found = text.split(",")
    names = ["_".join(name.split()) for name in found]
    if not names or "" in names or len(set(names)) < len(names):
        raise FormatError(
            f"--label-names must be a file, or names with commas between them, each once, got {text[:80]!r}"
        )
    return names


def named(ids: Sequence[str | int], names: Sequence[str] | None, where: str) -> list[str]:
    """The labels of one sentence: strings as they are, ids by their names.

    Raises:
        FormatError: ids without names, an id that has none, or names for what is no id.
    """
    found = []
    for label in ids:
        if isinstance(label, str):
            if names is not None:
                raise FormatError(f"{where}: --label-names is for ids, and the label {label!r} is a string")
            found.append(label)
            continue
        if names is None:
            raise FormatError(f"{where}: the label {label} is an id; --label-names O,B-X,... or a file gives the names")
        if not 0 <= label < len(names):
            raise FormatError(
                f"{where}: the label {label} must be in [0, {len(names) - 1}]: --label-names has {len(names)}"
            )
        found.append(names[label])
    return found


def with_predicted(text: str, labels: Sequence[str]) -> str:
    """The rewriting of a line: the object gets the key `predicted`. Where it has one already, that is replaced."""
    ascii_only = text.isascii()
    entry = json.loads(text)
    if PREDICTED in entry:
        return json.dumps({**entry, PREDICTED: list(labels)}, ensure_ascii=ascii_only)
    end = text.rindex("}")
    return f'{text[:end]}, "{PREDICTED}": {json.dumps(list(labels), ensure_ascii=ascii_only)}{text[end:]}'


def _object(text: str, where: str) -> dict:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: a line must be a JSON object, as a whole: {error}") from error
    if not isinstance(entry, dict):
        raise FormatError(f'{where}: a line must be a JSON object, {{"tokens": [...], ...}}, got {text[:40]!r}')
    return entry


def _json_list(text: str, name: str) -> list[str]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise FormatError(f"--label-names: {name} begins as a JSON list does, but is none: {error}") from error
    if not all(isinstance(item, str) for item in found):
        raise FormatError(f"--label-names: {name} must be a list of strings")
    return found


def _all(sentence: Sentence) -> str:
    return _names([*sentence.rows[0], *sentence.missing])


def _names(keys: Iterable[str]) -> str:
    return ", ".join(f"{key!r:.40}" for key in keys) or "none"
