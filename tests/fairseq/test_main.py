"""`python -m seqsearch_fairseq`: the folder for --user-dir, the version, and what is registered."""

import sys
from unittest import mock

import pytest
from commands import PLUGIN

import seqsearch_fairseq
from seqsearch_fairseq.__main__ import main


def printed(capsys, *arguments) -> str:
    with mock.patch.object(sys, "argv", ["seqsearch_fairseq", *arguments]):
        main()
    return capsys.readouterr().out


def test_user_dir_prints_the_folder_alone(capsys):
    assert printed(capsys, "--user-dir") == f"{PLUGIN}\n"


def test_version_prints_the_version_alone(capsys):
    assert printed(capsys, "--version") == f"{seqsearch_fairseq.__version__}\n"


@pytest.mark.parametrize(
    "kind,names",
    [
        ("criterions", ["soft_beam_direct", "soft_beam_hinge", "differentiable_scheduled_sampling", "searnn"]),
        ("tasks", ["search_tagging", "search_translation"]),
        ("archs", ["ccg_goyal2018", "iwslt_goyal2017", "ner_goyal2018", "tagger_gru", "tagger_lstm", "attention_gru"]),
        ("archs", ["ocr_leblond2018", "chunking_leblond2018", "spelling_leblond2018"]),
        ("scorers", ["tag_accuracy"]),
        ("decoders", ["greedy", "beam", "soft-beam"]),
    ],
)
def test_without_options_it_lists_what_is_registered(capsys, kind, names):
    lines = dict(line.split(": ", 1) for line in printed(capsys).splitlines() if ": " in line)
    assert set(lines[kind].split(", ")) >= set(names)


def test_unknown_options_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        printed(capsys, "--user-dirs")
    assert stop.value.code != 0
