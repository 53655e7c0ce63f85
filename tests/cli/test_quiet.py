"""fairseq's commands say nothing of other packages' code, and start no process for the data unasked."""

import warnings

import commands
import pytest
from commands import PLUGIN
from fairseq import options

from seqsearch_fairseq._warnings import hide_known


def test_decoding_prints_no_warning_and_no_advice(trained):
    model = trained("tagger_lstm")
    flags = [
        "--user-dir",
        PLUGIN,
        "--task",
        model.task,
        "--path",
        model.checkpoint,
        "--cpu",
        "--gen-subset",
        "valid",
        "--beam",
        2,
    ]
    status, out, err = commands.finish(commands.start("generate", model.data, *flags))
    assert status == 0 and "H-0" in out
    assert not [word for word in ("Warning", "deprecated", "Please install", "DEBUG", "Traceback") if word in out + err]


@pytest.mark.parametrize("given,workers", [([], 0), (["--num-workers", "2"], 2)])
def test_the_data_need_no_process_of_their_own(given, workers):
    flags = ["data", "--task", "search_tagging", "--path", "checkpoint.pt", *given]
    args = options.parse_args_and_arch(options.get_generation_parser(), flags)
    assert args.num_workers == workers


def test_other_warnings_are_shown():
    with pytest.warns(UserWarning, match="validated against the gold"):
        hide_known()
        warnings.warn("'labels' is validated against the gold", UserWarning, stacklevel=1)
