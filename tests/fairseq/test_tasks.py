"""What the tasks refuse, and what they take off or add to fairseq's translation task."""

import gc
import re
import shutil

import commands
import corpora
import pytest
from commands import OPTIMIZER, TINY
from glue import make_task

from seqsearch_fairseq.errors import UsageError

WORDS = [["w1", "w2"], ["w3"], ["w1", "w2", "w3"], ["w1", "w2", "w3"]]
LABELS = [["L1", "O"], ["O"], ["L1", "L2", "O"], ["L1", "L2", "O"]]


def preprocessed(folder, words, labels):
    """A data folder whose training split holds these lines; the other splits are good."""
    for split in corpora.SPLITS:
        lines = zip(words, labels, strict=True) if split == "train" else zip(WORDS, LABELS, strict=True)
        corpora.write_parallel(folder / "text", split, list(lines))
    return commands.preprocess(folder / "text", folder / "bin")


def test_no_filler_and_no_start_symbol_occurs(loaded):
    task = loaded("lstm").task
    words = task.target_dictionary
    words.add_symbol("madeupword0000")
    occurring = task.occurring_candidates()
    assert (
        occurring[words.eos()] and occurring[words.unk()] and not occurring[words.bos()] and not occurring[words.pad()]
    )
    assert not occurring[-1]


@pytest.mark.parametrize(
    "line,words,labels,message",
    [
        (2, ["w3", "w1"], ["O"], "line 2 has 2 words and 1 labels"),
        (3, ["w3"], ["O", "O"], "line 3 has 1 words and 2 labels"),
        (1, ["w3"], [], "line 1 has 1 words and 0 labels"),
        (1, [], ["O"], "line 1 has 0 words and 1 labels"),
        (2, [], [], "line 2 has 0 words and 0 labels"),
    ],
)
def test_tagging_names_the_line_whose_lengths_differ(tmp_path, line, words, labels, message):
    all_words, all_labels = WORDS.copy(), LABELS.copy()
    all_words[line - 1], all_labels[line - 1] = words, labels
    data = preprocessed(tmp_path, all_words, all_labels)
    with pytest.raises(UsageError, match=rf"in split 'train' of .*, {message} \(1 such lines in all\)"):
        make_task("search_tagging", data).load_dataset("train")


def test_tagging_takes_the_end_of_sentence_off_both_sides(tagging):
    task = make_task("search_tagging", tagging.data)
    task.load_dataset("valid")
    words, labels = ((tagging.text / f"valid.{side}").read_text().splitlines() for side in ("src", "tgt"))
    for i, (source, target) in enumerate(zip(words, labels, strict=True)):
        pair = task.dataset("valid")[i]
        assert task.source_dictionary.string(pair["source"]) == source
        assert task.target_dictionary.string(pair["target"]) == target
        assert len(pair["source"]) == len(pair["target"]) == len(source.split())


def test_the_candidates_of_tagging_are_the_labels(tagging):
    task = make_task("search_tagging", tagging.data)
    chosen = [task.target_dictionary[i] for i in task.search_candidates().nonzero()]
    assert sorted(chosen) == ["L1", "L2", "O"]


def test_the_candidates_of_translation_are_all_but_padding(translation):
    task = make_task("search_translation", translation.data)
    left_out = [task.target_dictionary[i] for i in (~task.search_candidates()).nonzero()]
    assert left_out == [task.target_dictionary.pad_word]


@pytest.fixture
def copy(translation, tmp_path):
    """A copy of the translation data, to take something away from."""
    return shutil.copytree(translation.data, tmp_path / "bin")


@pytest.mark.parametrize("task", ["search_translation", "search_tagging"])
def test_a_missing_data_folder_is_named(tmp_path, task):
    with pytest.raises(UsageError, match=f"the data folder {tmp_path}/nowhere does not exist"):
        make_task(task, tmp_path / "nowhere")


def test_no_data_folder_at_all_is_refused():
    with pytest.raises(UsageError, match="no data: name the folder"):
        make_task("search_translation", "")


def test_a_folder_without_data_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no file named like train.SOURCE-TARGET"):
        make_task("search_translation", tmp_path)


def test_a_missing_dictionary_is_named(copy):
    (copy / "dict.tgt.txt").unlink()
    with pytest.raises(UsageError, match="the dictionary .*dict.tgt.txt does not exist"):
        make_task("search_translation", copy)


def test_a_missing_split_is_named(copy):
    with pytest.raises(UsageError, match="split 'dev' is not in .*: there is no dev.src-tgt.src.idx"):
        make_task("search_translation", copy).load_dataset("dev")


@pytest.mark.parametrize("task", ["search_translation", "search_tagging"])
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_an_empty_split_is_refused(tagging, tmp_path, task):
    text = shutil.copytree(tagging.text, tmp_path / "text")
    for side in ("src", "tgt"):
        (text / f"valid.{side}").write_text("")
    data = commands.preprocess(text, tmp_path / "bin")
    task = make_task(task, data)
    try:
        task.load_dataset("valid")
        outcome = None
    except Exception as error:
        # Only its text: a traceback would keep fairseq's half-made reader alive, and the error that its end raises in
        # the middle of pytest's report kills pytest (Python 3.11, "AST constructor recursion depth mismatch").
        outcome = error.with_traceback(None) if isinstance(error, UsageError) else repr(error)
    gc.collect()
    assert isinstance(outcome, UsageError), outcome
    assert re.search("split 'valid' of .* is empty", str(outcome))


def test_splits_that_are_continued_in_other_files_are_combined(copy):
    for side in ("src", "tgt"):
        for kind in ("idx", "bin"):
            shutil.copy(copy / f"valid.src-tgt.{side}.{kind}", copy / f"train1.src-tgt.{side}.{kind}")
    task = make_task("search_translation", copy, upsample_primary=1)
    task.load_dataset("train", combine=True)
    assert len(task.dataset("train")) == corpora.SPLITS["train"] + corpora.SPLITS["valid"]


@pytest.mark.parametrize(
    "options,message",
    [
        ({"eval_bleu": True}, "--eval-bleu is for search_translation"),
        ({"truncate_source": True}, "--truncate-source would leave labels without words"),
        ({"tagging_valid_beam": 0}, r"--tagging-valid-beam must be in \[1, 3\], .* got 0"),
        ({"tagging_valid_beam": 4}, r"--tagging-valid-beam must be in \[1, 3\], .* got 4"),
        ({"soft_beam_decode_alpha": 0.0}, "--soft-beam-decode-alpha must be .*positive.*, got 0.0"),
        ({"soft_beam_decode_alpha": float("nan")}, "--soft-beam-decode-alpha must be .*positive.*, got nan"),
        ({"soft_beam_decode_alpha": float("inf")}, "--soft-beam-decode-alpha must be .*positive.*, got inf"),
    ],
)
def test_options_that_tagging_has_no_use_for_are_refused(tagging, options, message):
    with pytest.raises(UsageError, match=message):
        make_task("search_tagging", tagging.data, **options)


SOFT_BEAM = ["--criterion", "soft_beam_direct", *OPTIMIZER, "--max-epoch", 1]
LAYERS = [*TINY["transformer"], "--decoder-layerdrop", "0.5"]
FCONV = ["--arch", "fconv", "--encoder-layers", "[(32, 3)]", "--decoder-layers", "[(32, 3)]"]
FCONV += ["--encoder-embed-dim", 16, "--decoder-embed-dim", 16, "--decoder-out-embed-dim", 16]
LIGHTCONV = ["--arch", "lightconv", "--encoder-layers", 1, "--decoder-layers", 1, "--encoder-embed-dim", 16]
LIGHTCONV += ["--decoder-embed-dim", 16, "--encoder-ffn-embed-dim", 16, "--decoder-ffn-embed-dim", 16]
LIGHTCONV += ["--encoder-kernel-size-list", "[3]", "--decoder-kernel-size-list", "[3]"]
LIGHTCONV += ["--encoder-attention-heads", 2, "--decoder-attention-heads", 2]


@pytest.mark.parametrize(
    "flags,message",
    [
        (FCONV, "cannot step through the decoder FConvDecoder; supported are: LSTMDecoder, Transformer"),
        (LIGHTCONV, "cannot step through the decoder LightConvDecoder; supported are: LSTMDecoder, Transformer"),
        ([*TINY["transformer"], "--adaptive-softmax-cutoff", "8"], "TransformerDecoder.* has an adaptive softmax"),
        (LAYERS, "--decoder-layerdrop 0.5"),
    ],
    ids=["fconv", "lightconv", "adaptive softmax", "layerdrop"],
)
def test_decoders_that_cannot_be_stepped_through_are_refused(translation, tmp_path, flags, message):
    with pytest.raises(UsageError, match=message):
        commands.train(translation.data, "search_translation", tmp_path, *flags, *SOFT_BEAM)


@pytest.mark.parametrize("criterion", ["soft_beam_direct", "soft_beam_hinge"])
def test_a_task_that_is_not_ours_is_refused(translation, tmp_path, criterion):
    flags = [*TINY["lstm"], *OPTIMIZER, "--criterion", criterion]
    with pytest.raises(UsageError, match=f"{criterion} needs --task search_translation or search_tagging, got Transl"):
        commands.train(translation.data, "translation", tmp_path, *flags)


def test_stock_translation_reads_the_checkpoints(trained):
    """What was trained here can be decoded without the plug-in's task."""
    model = trained("transformer")
    output = commands.generate(model.data, "translation", model.checkpoint, "--gen-subset", "valid")
    assert len(output.lines("H")) == corpora.SPLITS["valid"]


def test_targets_padded_on_the_left_are_refused(translation):
    with pytest.raises(UsageError, match="--left-pad-target must be False"):
        make_task("search_translation", translation.data, left_pad_target=True)
