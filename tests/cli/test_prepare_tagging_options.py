"""prepare_tagging.py: the order of its options, and what it says of encodings, formats and labels."""

import pytest
from commands import script
from test_prepare_tagging import prepared, refusal


@pytest.mark.parametrize(
    "line",
    [
        "--train a --test b OUT",
        "OUT --train a --test b",
        "--train a OUT --test b",
        "--train=a --lowercase OUT --test b",
        "--train a --test b -- OUT",
    ],
)
def test_no_option_takes_the_folder_for_a_file(tmp_path, line):
    for name in "ab":
        (tmp_path / name).write_text("x O\n\ny O\n\n")
    places = {
        "a": tmp_path / "a",
        "--train=a": f"--train={tmp_path / 'a'}",
        "b": tmp_path / "b",
        "OUT": tmp_path / "out",
    }
    done = script("prepare_tagging.py", "--valid-every", 2, *(places.get(part, part) for part in line.split()))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "test.words").read_text() == "x\ny\n"


@pytest.mark.parametrize(
    "line", ["--train a a b --test b OUT", "--test b --train a a b OUT", "--train a --train a b --test b OUT"]
)
def test_an_option_may_have_several_files(tmp_path, line):
    for name in "ab":
        (tmp_path / name).write_text(f"{name} O\n\n")
    places = {"a": tmp_path / "a", "b": tmp_path / "b", "OUT": tmp_path / "out"}
    done = script("prepare_tagging.py", *(places.get(part, part) for part in line.split()), "--valid-every", 3)
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / "out" / f"{split}.words").read_text() for split in ("train", "valid", "test")] == [
        "a\na\n",
        "b\n",
        "b\n",
    ]


def test_a_further_file_that_is_missing_is_not_taken_for_the_folder(tmp_path):
    (tmp_path / "a").write_text("x O\n\n")
    flags = ["--train", tmp_path / "a", tmp_path / "missing", "--test", tmp_path / "a", tmp_path / "out"]
    done = script("prepare_tagging.py", *flags)
    assert done.returncode == 2 and not (tmp_path / "missing").exists()
    assert "--train, --valid, --test may have several values, but all after the first must exist" in done.stderr


def test_a_list_of_unknown_labels_is_cut(tmp_path):
    test = "".join(f"a {'x' * 50}{number}\n" for number in range(9))
    said = prepared(tmp_path, "a X\n", test=test)["said"][2]
    assert said.endswith(f"9 labels that train does not hold ({', '.join(['x' * 20 + '...'] * 5)}, ...)")


def test_latin1_is_read_and_said(tmp_path):
    for name in ("train", "test"):
        (tmp_path / name).write_bytes("a O\n\nsubray\u00f3 O\n".encode("iso-8859-1"))
    files = ["--train", tmp_path / "train", "--test", tmp_path / "test"]
    done = script("prepare_tagging.py", tmp_path / "out", *files, "--valid-every", 2)
    assert (tmp_path / "out" / "valid.words").read_text(encoding="utf-8") == "subray\u00f3\n"
    assert done.stdout.startswith(f"{tmp_path / 'train'} is read as Latin-1 (ISO 8859-1), as line 3 is not UTF-8")


def test_conllu_with_a_factor(tmp_path):
    text = "# text = al\n1-2\tal\t_\t_\t_\t_\t_\t_\t_\t_\n"
    text += "1\ta\ta\tADP\t_\t_\t0\troot\t_\t_\n2\tel\tel\tDET\t_\t_\t1\tdet\t_\t_\n\n"
    written = prepared(tmp_path, text, "--layout", "conllu", "--label-column", "deprel", "--factor", "pos=UPOS")
    assert [written[f"train.{side}"] for side in ("words", "labels", "pos")] == [["a el"], ["root det"], ["ADP DET"]]
    assert "XPOS is _, which is no value, for all tokens of the training split" in refusal(
        tmp_path / "other", text.encode() * 2, "--layout", "conllu", "--label-column", "XPOS"
    )


def test_json_lines_with_ids_and_a_factor(tmp_path):
    text = '{"tokens": ["a", "b"], "tags": [1, 0], "pos_tags": [7, 8]}\n'
    flags = ["--layout", "jsonl", "--label-column", "tags", "--label-names", "O,B-X", "--factor", "pos=pos_tags"]
    written = prepared(tmp_path, text, *flags)
    assert [written[f"test.{side}"] for side in ("words", "labels", "pos")] == [["a b"], ["B-X O"], ["7 8"]]
    assert written["said"][-1] == "chunk labels: iob2"


def test_the_key_that_was_taken_for_the_labels_is_said(tmp_path):
    assert (
        "labels: 'tags' of the objects"
        in prepared(tmp_path, '{"tokens": ["a"], "tags": ["N"]}\n', "--layout", "jsonl")["said"]
    )
