"""The task search_recognition and what belongs to it: batches, models, greedy decoding, scores, and what is refused."""

import itertools
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fairseq import models
from fairseq.scoring import build_scorer
from fairseq.tasks.fairseq_task import FairseqTask
from glue import make_criterion, make_task
from omegaconf import OmegaConf
from torch import nn

from seqsearch_fairseq.data.files import FormatError
from seqsearch_fairseq.emissions import Emissions, emissions_of, emit, frames_after, last_output
from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.generation.recognition import RecognitionGenerator, greedy
from seqsearch_fairseq.models.recognizer import RecognizerConfig, RecognizerModel
from seqsearch_fairseq.scoring.recognition import parts, rapidfuzz_as_editdistance
from seqsearch_fairseq.tasks.unit_dictionary import WordsAfterArrow


def task_on(data: Path, trains: bool = True, **options) -> FairseqTask:
    task = make_task("search_recognition", data, **options)
    task._trains = trains
    return task


def small(task, **options) -> RecognizerModel:
    cfg = RecognizerConfig(encoder_channels=6, encoder_hidden_size=5, encoder_layers=1, dropout=0.0, **options)
    return RecognizerModel.build_model(cfg, task).eval()


def batch_of(task, count: int = 4, split: str = "valid") -> dict:
    task.load_dataset(split)
    dataset = task.dataset(split)
    return dataset.collater([dataset[i] for i in range(count)])


@pytest.fixture
def copy(spoken, tmp_path) -> Path:
    return shutil.copytree(spoken, tmp_path / "copy")


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


# ------------------------------------------------------------------------------------------------------------ batches


def test_a_batch_has_frames_a_mask_and_units(spoken):
    task = task_on(spoken)
    batch = batch_of(task)
    source, mask = batch["net_input"]["source"], batch["net_input"]["padding_mask"]
    lengths = [int(line.split("\t")[1]) for line in (spoken / "valid.tsv").read_text().splitlines()[1:5]]
    assert source.shape == (4, max(lengths), 39) and (~mask).sum(dim=1).tolist() == lengths
    assert bool((source[mask] == 0).all()) and bool(torch.isfinite(source).all())
    letters = (spoken / "valid.ltr").read_text().splitlines()[:4]
    assert [task.target_dictionary.string(row[row != 1]) for row in batch["target"]] == letters
    assert batch["target_lengths"].tolist() == [len(line.split()) for line in letters]
    assert batch["ntokens"] == sum(batch["target_lengths"]) and batch["id"].tolist() == [0, 1, 2, 3]
    assert batch["words"] == (spoken / "valid.wrd").read_text().splitlines()[:4]
    assert task.dataset("valid").collater([]) == {}


def test_utterances_are_ordered_by_length_and_none_is_lost(spoken):
    task = task_on(spoken)
    task.load_dataset("train")
    dataset = task.dataset("train")
    order = dataset.ordered_indices()
    assert sorted(order) == list(range(40)) and list(dataset.sizes[order]) == sorted(dataset.sizes)
    batches = list(task.get_batch_iterator(dataset, max_sentences=7).next_epoch_itr(shuffle=False))
    assert sum(len(batch["id"]) for batch in batches) == 40


def test_loss_of_a_batch_is_that_of_its_utterances(spoken):
    task = task_on(spoken)
    batch, model, criterion = batch_of(task), small(task).double().train(), make_criterion("ctc", task)

    def loss(batch):
        batch["net_input"]["source"] = batch["net_input"]["source"].double()
        return criterion(model, batch)[0]

    alone = [task.dataset("valid").collater([task.dataset("valid")[i]]) for i in range(4)]
    assert torch.allclose(loss(batch), sum(map(loss, alone)), rtol=1e-10)


@pytest.mark.parametrize("kernel,subsampling", [(3, 3), (5, 3), (4, 2), (5, 4), (1, 1)])
def test_padding_changes_nothing_and_a_begun_stride_is_a_frame(spoken, kernel, subsampling):
    model = small(task_on(spoken), encoder_kernel=kernel, encoder_subsampling=subsampling).double()
    lengths = [1, 7, 8, 9, 20]
    sources = [torch.randn(length, 39, dtype=torch.float64) for length in lengths]
    padded = nn.utils.rnn.pad_sequence(sources, batch_first=True)
    mask = torch.arange(20) >= torch.tensor(lengths)[:, None]
    together = emit([model], {"source": padded + mask[..., None] * 7.0, "padding_mask": mask})
    assert together.lengths.tolist() == [-(-length // subsampling) for length in lengths]
    assert frames_after(model)(np.array(lengths)).tolist() == together.lengths.tolist()
    for row, length, source in zip(together.log_probs, together.lengths, sources, strict=True):
        alone = emit([model], {"source": source[None], "padding_mask": None})
        assert alone.log_probs.shape[1] == length
        assert torch.allclose(row[:length], alone.log_probs[0], atol=1e-12)


def test_named_sizes():
    for arch, layers, hidden in [("recognizer_graves2013", 3, 250), ("recognizer_eesen2015", 4, 320)]:
        cfg = OmegaConf.create({})
        models.ARCH_CONFIG_REGISTRY[arch](cfg)
        assert (cfg.encoder_layers, cfg.encoder_hidden_size, cfg.encoder_subsampling) == (layers, hidden, 3)


def test_a_stride_that_would_skip_frames_is_refused(spoken):
    with pytest.raises(UsageError, match=r"--encoder-subsampling must be in \[1, 3\], .*, got 4"):
        small(task_on(spoken), encoder_kernel=3, encoder_subsampling=4)


# --------------------------------------------------------------------------------------------------------- raw audio


@pytest.fixture
def waveforms(spoken, tmp_path) -> Path:
    """The same transcriptions with samples instead of frames."""
    data = shutil.copytree(spoken, tmp_path / "waveforms")
    draws = np.random.default_rng(0)
    for split in ("train", "valid"):
        lines = [str(tmp_path)]
        for number in range(len((data / f"{split}.ltr").read_text().splitlines())):
            samples = draws.normal(size=600 + 40 * (number % 5)) * 0.1 + 0.5
            np.save(tmp_path / f"{split}{number}.npy", samples)
            lines.append(f"{split}{number}.npy\t{len(samples)}")
        (data / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return data


W2V = {
    "_name": "wav2vec2",
    "conv_feature_layers": "[(8, 10, 5)] + [(8, 3, 2)]",
    "encoder_layers": 1,
    "encoder_embed_dim": 8,
    "encoder_ffn_embed_dim": 8,
    "encoder_attention_heads": 2,
    "conv_pos": 4,
    "conv_pos_groups": 2,
}


@pytest.mark.filterwarnings("ignore")  # of fairseq's own code
def test_wav2vec_ctc_trains_on_raw_audio_with_ctc(waveforms):
    task = task_on(waveforms, recognition_audio="waveform", normalize=True)
    w2v = {"task": {"_name": "audio_pretraining", "data": "", "normalize": True}, "model": W2V}
    cfg = OmegaConf.create(
        {
            "task": task.cfg,
            "distributed_training": {"ddp_backend": "legacy_ddp"},
            "model": {"_name": "wav2vec_ctc", "w2v_path": "", "w2v_args": w2v, "feature_grad_mult": 1.0},
        }
    )
    model = task.build_model(cfg.model).train()
    assert "w2v_args" in cfg.model
    batch = batch_of(task)
    source = batch["net_input"]["source"]
    assert source.shape == (4, 720) and abs(float(source[0, :600].mean())) < 1e-6
    loss, sample_size, _ = make_criterion("ctc", task, zero_infinity=True)(model, batch)
    loss.backward()
    assert sample_size == batch["ntokens"] and bool(torch.isfinite(loss)) and float(loss.detach()) > 0
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.w2v_encoder.proj.parameters())
    found = emit([model.eval()], batch["net_input"])
    assert found.log_probs.shape[::2] == (4, len(task.target_dictionary))
    assert found.lengths.tolist() == frames_after(model)(task.dataset("valid").sizes[:4]).tolist() == [59, 63, 67, 71]
    [[hypothesis], *_] = RecognitionGenerator(task, greedy).generate([model], batch)
    assert hypothesis["score"] < 0


def test_recognizer_lstm_reads_no_waveforms(waveforms):
    with pytest.raises(
        UsageError, match="recognizer_lstm reads frames, of --task search_recognition, and no waveforms"
    ):
        small(task_on(waveforms, recognition_audio="waveform"))


# ------------------------------------------------------------------------------------------------------------ greedy


def emitted(task, text: str, length: int | None = None) -> Emissions:
    """Emissions of one utterance whose best units are those of `text`, `_` for the blank."""
    best = [task.blank if unit == "_" else task.target_dictionary.index(unit) for unit in text]
    log_probs = F.log_softmax(torch.randn(1, len(best), len(task.target_dictionary)), dim=2)
    log_probs[0, torch.arange(len(best)), best] += 9.0
    log_probs[:, :, task.target_dictionary.eos()] = 20.0  # never emitted, however probable
    return Emissions(log_probs, torch.tensor([length or len(best)]))


@pytest.mark.parametrize(
    "text,units", [("AAB|", "AB|"), ("__A_AA_", "AA"), ("____", ""), ("ALL|L", "AL|L"), ("|AB", "|AB")]
)
def test_repetitions_are_one_unit_and_blanks_none(spoken, text, units):
    task = task_on(spoken)
    emissions = emitted(task, text)
    [[found]] = greedy(task, emissions)
    assert "".join(task.target_dictionary[unit] for unit in found.units) == units
    assert found.words == "".join(units).replace("|", " ").split()
    candidates = emissions.log_probs[0, :, task.emitted_units()]
    assert found.score == pytest.approx(float(candidates.max(dim=1).values.sum()))
    assert float(found.unit_scores.sum()) == pytest.approx(found.score) and len(found.unit_scores) == max(len(units), 1)


def test_a_unit_is_scored_from_its_first_frame_to_the_next_one(spoken):
    task = task_on(spoken)
    emissions = emitted(task, "_AA_B_")
    best = emissions.log_probs[0, :, task.emitted_units()].max(dim=1).values
    [[found]] = greedy(task, emissions)
    assert torch.allclose(found.unit_scores, torch.stack([best[:4].sum(), best[4:].sum()]))


def test_frames_beyond_the_end_are_not_read(spoken):
    task = task_on(spoken)
    [[found]] = greedy(task, emitted(task, "AB|L", length=3))
    assert found.words == ["AB"] and len(found.units) == 3


def test_an_ensemble_has_the_mean_of_the_probabilities(spoken):
    task = task_on(spoken)
    one, two, batch = small(task), small(task), batch_of(task)["net_input"]
    both = emit([one, two], batch).log_probs.exp()
    assert torch.allclose(
        both, (emit([one], batch).log_probs.exp() + emit([two], batch).log_probs.exp()) / 2, atol=1e-6
    )
    with pytest.raises(UsageError, match="must have the same units, and subsample the frames alike"):
        emit([one, small(task, encoder_subsampling=2)], batch)


def test_a_model_without_units_at_frames_is_refused():
    with pytest.raises(UsageError, match="Linear has no units at frames as its output; use recognizer_lstm"):
        emissions_of(nn.Linear(1, 1), torch.zeros(1))


def test_the_last_output_is_kept_while_it_is_asked_for():
    model = nn.Linear(1, 1)
    with last_output(model) as kept:
        assert kept == []
        output = model(torch.zeros(1))
        assert kept[0] is output
    model(torch.ones(1))
    assert kept[0] is output


# -------------------------------------------------------------------------------------------------------- topologies


def test_asg_writes_doubled_units_with_a_symbol_and_has_no_blank(spoken):
    task = task_on(spoken, recognition_topology="asg")
    names = task.target_dictionary
    assert names.symbols[-1] == "1" and task.blank == -1 and not hasattr(task, "blank_symbol")
    assert task.emitted_units().tolist() == [False] * 4 + [True] * (len(names) - 4)
    batch = batch_of(task)
    written = [names.string(row[row != names.pad()]) for row in batch["target"]]
    assert written == [
        line.replace("L L", "L 1").replace("E E", "E 1") for line in (spoken / "valid.ltr").read_text().splitlines()[:4]
    ]
    [[found]] = greedy(task, emitted(task, "AALL11|BE1"))
    assert found.words == ["ALL", "BEE"] and names.string(found.units) == "A L 1 | B E 1"
    assert names.string(task.written_out(found.units)) == "A L L | B E E"
    cfg = OmegaConf.create({"_name": "ctc"})
    with pytest.raises(UsageError, match="--criterion ctc needs a blank: say --recognition-topology ctc, got asg"):
        task.build_criterion(cfg)


def test_asg_refuses_what_it_cannot_write(copy):
    lines = (copy / "valid.ltr").read_text().splitlines()
    lines[2] = "A L L L |"
    (copy / "valid.ltr").write_text("\n".join(lines) + "\n")
    with pytest.raises(FormatError, match="valid.ltr, line 3: `most` must be at least 2 .* --recognition-repetitions"):
        task_on(copy, recognition_topology="asg").load_dataset("valid")
    task_on(copy, recognition_topology="asg", recognition_repetitions=2).load_dataset("valid")
    append(copy / "dict.ltr.txt", "1 7\n")
    with pytest.raises(UsageError, match="--recognition-topology asg: 1 is a unit of the dictionary, and the symbol"):
        task_on(copy, recognition_topology="asg")


@pytest.mark.parametrize("topology,left_out", [("ctc", [1, 3]), ("asg", [1])])
def test_a_transcription_that_is_longer_than_its_frames_is_left_out_in_training(copy, caplog, topology, left_out):
    manifest, letters = (copy / "valid.tsv"), (copy / "valid.ltr").read_text().splitlines()
    frames = [-(-int(line.split("\t")[1]) // 2) for line in manifest.read_text().splitlines()[1:]]  # after subsampling
    letters[0] = " ".join(("AB" * frames[0])[: frames[0]])  # as many units as frames
    letters[1] = " ".join(("AB" * frames[1])[: frames[1] + 1])  # one more
    letters[3] = " ".join("AA" + ("BA" * frames[3])[: frames[3] - 2])  # as many, and a blank has to stand between two
    (copy / "valid.ltr").write_text("\n".join(letters) + "\n")
    task = task_on(copy, recognition_topology=topology)
    task._frames_after = frames_after(small(task, encoder_subsampling=2))
    task.load_dataset("valid")
    kept = task.dataset("valid").ordered_indices()
    assert sorted(set(range(8)) - set(kept)) == left_out
    assert f"{len(left_out)} of 8 utterances are left out, as their transcriptions are longer" in caplog.text
    assert f"it needs {frames[1] + 1} frames, and has {frames[1]} after subsampling" in caplog.text
    task._trains = False  # to decode, all are there
    task.load_dataset("valid")
    assert len(task.dataset("valid").ordered_indices()) == 8


def test_all_transcriptions_too_long_is_an_error(copy):
    (copy / "valid.ltr").write_text(("A B " * 200 + "\n") * 8)
    with pytest.raises(UsageError, match="split 'valid' of .*: all transcriptions are longer than their frames"):
        task_on(copy).load_dataset("valid")


# ---------------------------------------------------------------------------------------------------- words and files


def test_phones_become_words_by_the_lexicon(copy):
    (copy / "dict.ltr.txt").unlink()
    (copy / "dict.phn.txt").write_text("SIL 9\nr 3\neh 3\nd 3\n")
    (copy / "lexicon.txt").write_text("READ\tr eh d\nRED\tr eh d\n")
    task = task_on(copy, recognition_lexicon=str(copy / "lexicon.txt"))
    assert task.labels == "phn" and task.silence == "SIL"
    units = [task.target_dictionary.index(unit) for unit in "SIL r eh d SIL r d".split()]
    assert task.words_of(units) == ["READ", "rd"]
    assert task_on(copy, recognition_silence="none").words_of(units) == ["SILrehdSILrd"]


def test_words_that_are_not_in_the_lexicon_are_an_error_before_training(copy):
    lines = (copy / "lexicon.txt").read_text().splitlines(keepends=True)
    (copy / "lexicon.txt").write_text("".join(line for line in lines if not line.startswith("EEL")))
    options = {"recognition_lexicon": str(copy / "lexicon.txt")}
    with pytest.raises(FormatError, match=r"train.wrd, line \d+: the word 'EEL' is not in the lexicon"):
        task_on(copy, **options).load_dataset("train")
    task_on(copy, trains=False, **options).load_dataset("test")


def test_units_that_are_not_in_the_dictionary_are_an_error_in_training(copy):
    lines = (copy / "valid.ltr").read_text().splitlines()
    (copy / "valid.ltr").write_text("\n".join(["A X |", *lines[1:]]) + "\n")
    with pytest.raises(FormatError, match="valid.ltr, line 1: the unit 'X' is not in the dictionary of units"):
        task_on(copy).load_dataset("valid")
    task = task_on(copy, trains=False)
    assert task.target_dictionary.unk() in batch_of(task)["target"][0]


def test_words_are_read_from_the_units_where_there_is_no_file_of_them(copy):
    words = (copy / "valid.wrd").read_text().splitlines()
    (copy / "valid.wrd").unlink()
    assert batch_of(task_on(copy), 8)["words"] == words


def test_utterances_without_transcriptions_can_be_decoded(copy):
    (copy / "test.ltr").unlink()
    task = task_on(copy, trains=False)
    batch = batch_of(task, split="test")
    assert batch["target"] is None and batch["words"] is None
    assert len(task.inference_step(RecognitionGenerator(task, greedy), [small(task)], batch)) == 4
    with pytest.raises(UsageError, match="split 'test' of .* has no transcriptions: there is no test.ltr"):
        task_on(copy).load_dataset("test")


def test_files_that_are_not_as_the_manifest_says_are_refused(copy):
    lines = (copy / "valid.tsv").read_text().splitlines()
    name, length = lines[1].split("\t")
    (copy / "valid.tsv").write_text("\n".join([lines[0], f"{name}\t{int(length) + 1}", *lines[2:]]) + "\n")
    with pytest.raises(FormatError, match=f"{name} has the length {length}, and by its manifest {int(length) + 1}"):
        batch_of(task_on(copy))
    task = task_on(copy)
    task._input_size = 13
    with pytest.raises(FormatError, match="has 39 numbers a frame, and the model reads 13"):
        task.load_dataset("train")
        task.dataset("train")[0]


@pytest.mark.parametrize(
    "options,message",
    [
        ({"data": None}, "no data: name the folder that scripts/prepare_recognition.py wrote"),
        ({"data": "/no/folder"}, "the data folder /no/folder does not exist"),
        ({"labels": "phn"}, "the dictionary .*dict.phn.txt does not exist"),
        (
            {"recognition_silence": "SIL"},
            "--recognition-silence must be a unit of the dictionary, auto or none, got SIL",
        ),
        ({"recognition_lexicon": "/no/file"}, "--recognition-lexicon /no/file does not exist, or is no file"),
        ({"recognition_lm": "/no/file"}, "--recognition-lm /no/file does not exist, or is no file"),
        ({"recognition_deltas": -1}, "--recognition-deltas must be at least 0, got -1"),
        ({"recognition_filterbanks": 0}, "--recognition-filterbanks must be at least 1, got 0"),
    ],
)
def test_flags_that_break_a_rule_are_refused(spoken, options, message):
    with pytest.raises(UsageError, match=message):
        task_on(options.pop("data", spoken) or "", **options)


def test_missing_and_doubtful_files_are_named(copy):
    with pytest.raises(
        UsageError, match="split 'dev' is not in .*: there is no dev.tsv; scripts/prepare_recognition.py"
    ):
        task_on(copy).load_dataset("dev")
    (copy / "valid.tsv").write_text("/root\n")
    with pytest.raises(UsageError, match="split 'valid' of .* is empty: .*valid.tsv names no utterance"):
        task_on(copy).load_dataset("valid")
    (copy / "train.tsv").unlink()
    with pytest.raises(UsageError, match="train.tsv does not exist, so it is unknown what a frame looks like"):
        small(task_on(copy))
    append(copy / "dict.ltr.txt", "=> 1\n")
    with pytest.raises(UsageError, match="dict.ltr.txt: => cannot be a unit; words are written after it"):
        task_on(copy)
    (copy / "dict.phn.txt").write_text("AH 1\n")
    with pytest.raises(
        UsageError, match="must have one dictionary, or --labels .*; there is dict.ltr.txt, dict.phn.txt"
    ):
        task_on(copy)


# ------------------------------------------------------------------------------------------------------------ scores


def test_units_and_words_are_counted_apart(spoken):
    names = task_on(spoken).target_dictionary
    gold = torch.tensor(names.with_words([4, 5, 6, 7], ["A", "B"]))
    predicted = torch.tensor(names.with_words([4, 5, 7, 7, 8], ["A"]))
    assert parts(gold) == ([4, 5, 6, 7], [(1 << 24) + 1, (1 << 24) + 2]) and parts([4, 5]) == ([4, 5], [])
    for name, rate in (("recognition", 50.0), ("unit_error_rate", 50.0)):
        scorer = build_scorer(name, None)
        assert scorer.score() == 0.0 and not hasattr(scorer, "add_string")
        scorer.add(gold, predicted)
        assert scorer.score() == rate
        assert scorer.result_string().endswith("unit error rate: 50.00 % (2 edits of 4 units)")
    assert (
        build_scorer("recognition", None).result_string().startswith("word error rate: 0.00 % (0 edits of 0 words), ")
    )


def test_word_error_rate_is_that_of_lines_of_words():
    scorer = build_scorer("word_error_rate", None)
    for gold, predicted in (("TO BE OR", "TWO BE"), ("", "A")):
        scorer.add_string(gold, predicted)
    assert scorer.result_string() == "word error rate: 100.00 % (3 edits of 3 words)"


def test_the_dictionary_writes_words_after_the_arrow(spoken):
    names = task_on(spoken).target_dictionary
    length = len(names)
    text = names.string(torch.tensor(names.with_words([4, 5], ["TO", "GO", "TO"])))
    assert text == f"{names[4]} {names[5]} => TO GO TO" and len(names) == length
    decode = WordsAfterArrow().decode
    assert decode(text) == "TO GO TO" and decode("A =>") == "" and decode("A B") == "A B"
    with pytest.raises(UsageError, match="--post-process letter: search_recognition writes the words itself"):
        names.string([4], "letter")


def test_editdistance_is_there_for_fairseqs_ctc_only_while_it_runs(monkeypatch):
    monkeypatch.delitem(sys.modules, "editdistance", raising=False)
    with rapidfuzz_as_editdistance():
        import editdistance

        for a, b in itertools.product(["", "ab", "abc"], ["b", "cab"]):
            wanted = {
                ("", "b"): 1,
                ("", "cab"): 3,
                ("ab", "b"): 1,
                ("ab", "cab"): 1,
                ("abc", "b"): 2,
                ("abc", "cab"): 2,
            }
            assert editdistance.eval(list(a), list(b)) == wanted[a, b]
    assert "editdistance" not in sys.modules


def test_generation_flags_without_a_meaning_are_refused(spoken):
    task = task_on(spoken)
    for flag, value in (("prefix_size", 2), ("print_alignment", "hard"), ("sampling", True)):
        with pytest.raises(UsageError, match=f"search_recognition does not support --{flag.replace('_', '-')}"):
            task.build_generator([], OmegaConf.create({flag: value}))
    with pytest.raises(UsageError, match="--nbest must be 1 with --decoder greedy, .*, got 3"):
        task.build_generator([], OmegaConf.create({"nbest": 3}))
    with pytest.raises(UsageError, match="--bpe sentencepiece: search_recognition writes the words itself"):
        task.build_bpe(OmegaConf.create({"_name": "sentencepiece"}))


def test_a_checkpoint_says_what_its_model_reads(spoken):
    trained = task_on(spoken, recognition_deltas=1, recognition_normalize="mean-variance")
    saved = trained.state_dict()
    task = task_on(spoken, trains=False)
    task.load_state_dict(saved)
    assert task.settings == trained.settings and task.input_size == 26
    task.load_state_dict(saved)
    with pytest.raises(UsageError, match="the checkpoints were trained on different frames"):
        task.load_state_dict(task_on(spoken).state_dict())
    with pytest.raises(UsageError, match="the checkpoint was trained with --recognition-topology ctc, got asg"):
        task_on(spoken, recognition_topology="asg").load_state_dict(saved)
