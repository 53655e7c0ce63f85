"""Manifests, features, lexicons and units: what is read, and what is refused."""

import importlib.util
import sys
import types
import wave
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqsearch_fairseq.data.files import FormatError
from seqsearch_fairseq.data.recognition import features, filterbanks
from seqsearch_fairseq.data.recognition.features import Settings, file_length, frames_of, read_file, read_frames
from seqsearch_fairseq.data.recognition.lexicon import (
    Lexicon,
    Pronunciation,
    read_cmu_lexicon,
    read_lexicon,
    write_lexicon,
)
from seqsearch_fairseq.data.recognition.manifests import Entry, read_manifest, read_transcriptions, write_manifest
from seqsearch_fairseq.data.recognition.units import (
    least_frames,
    spelled,
    with_repetitions,
    without_repetitions,
    words_of,
)
from seqsearch_fairseq.errors import UsageError

# -------------------------------------------------------------------------------------------------------- manifests


def test_a_manifest_is_read_as_it_was_written(tmp_path):
    entries = [Entry(tmp_path / "a b.wav", 7), Entry(tmp_path / "deep/c.mfc", 12)]
    write_manifest(tmp_path / "train.tsv", tmp_path, entries)
    assert (tmp_path / "train.tsv").read_text() == f"{tmp_path}\na b.wav\t7\ndeep/c.mfc\t12\n"
    assert list(read_manifest(tmp_path / "train.tsv")) == entries


@pytest.mark.parametrize(
    "text,message",
    [
        ("", "is empty; its first line must be the root folder"),
        ("a.wav\t5\n", "line 1: must be the root folder of the paths below, got 'a.wav\\\\t5'"),
        ("/root\na.wav 5\n", "line 2: must be a path, a tab and a number of frames, got 'a.wav 5'"),
        ("/root\na.wav\t5\nb.wav\t0\n", "line 3: must be a path, a tab and a number"),
        ("/root\n\n", "line 2: must be a path"),
    ],
)
def test_a_manifest_that_breaks_the_format_is_refused(tmp_path, text, message):
    (tmp_path / "train.tsv").write_text(text)
    with pytest.raises(FormatError, match=message):
        list(read_manifest(tmp_path / "train.tsv"))


def test_transcriptions_must_be_parallel_to_the_manifest(tmp_path):
    (tmp_path / "train.wrd").write_text("A  B \n\n")
    assert read_transcriptions(tmp_path / "train.wrd", Path("train.tsv"), 2) == ["A B", ""]
    with pytest.raises(FormatError, match="train.wrd has 2 lines, and train.tsv 3 utterances; they must be parallel"):
        read_transcriptions(tmp_path / "train.wrd", Path("train.tsv"), 3)


# --------------------------------------------------------------------------------------------------------- features


@pytest.mark.parametrize("order", "><")
def test_cepstra_are_read_in_either_order_of_bytes(tmp_path, order):
    frames = np.arange(26, dtype=np.float32).reshape(2, 13)
    (tmp_path / "a.mfc").write_bytes(np.array([26], f"{order}i4").tobytes() + frames.astype(f"{order}f4").tobytes())
    assert (read_file(tmp_path / "a.mfc") == frames).all() and file_length(tmp_path / "a.mfc") == 2


def test_arrays_are_frames_or_samples(tmp_path):
    np.save(tmp_path / "frames.npy", np.ones((3, 5), dtype=np.int16))
    np.save(tmp_path / "samples.npy", np.linspace(-1, 1, 9))
    assert read_file(tmp_path / "frames.npy").shape == (3, 5)
    waveform = read_frames(tmp_path / "samples.npy", Settings(audio="waveform", normalize_waveform=True))
    assert waveform.shape == (9,) and abs(waveform.mean()) < 1e-6 and abs(waveform.std() - 1) < 1e-4
    assert read_frames(tmp_path / "samples.npy", Settings(audio="waveform"))[0] == -1
    with pytest.raises(FormatError, match="can only be read as a waveform, and filterbanks are asked for"):
        read_frames(tmp_path / "samples.npy", Settings())


def write_wave(path: Path, samples: np.ndarray, rate: int = 16_000, channels: int = 1) -> None:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((samples * 2**15).astype("<i2").tobytes())


def test_audio_becomes_filterbanks_or_stays_a_waveform(tmp_path):
    pytest.importorskip("soundfile", reason="audio is read by the package soundfile")
    samples = (np.random.default_rng(0).normal(size=4000) * 0.1).round(3)
    write_wave(tmp_path / "a.wav", samples)
    assert file_length(tmp_path / "a.wav") == 4000
    settings = Settings(bins=23, deltas=2, normalize="none")
    frames = read_frames(tmp_path / "a.wav", settings)
    assert frames.shape == (frames_of(tmp_path / "a.wav", 4000, settings), 69) == (23, 69)
    waveform = read_frames(tmp_path / "a.wav", Settings(audio="waveform"))
    assert np.abs(waveform - samples).max() < 1e-4
    assert np.abs(frames[:, :23] - filterbanks.log_mel(waveform, 16_000, 23)).max() == 0

    write_wave(tmp_path / "slow.wav", samples, rate=8000)
    with pytest.raises(FormatError, match="slow.wav: must have 16000 samples a second, got 8000; resample it"):
        read_file(tmp_path / "slow.wav", 16_000)
    write_wave(tmp_path / "two.wav", samples, channels=2)
    with pytest.raises(FormatError, match="two.wav: must have one channel, got 2"):
        read_file(tmp_path / "two.wav")
    (tmp_path / "no.wav").write_text("no audio")
    with pytest.raises(FormatError, match="no.wav cannot be read as audio"):
        file_length(tmp_path / "no.wav")
    write_wave(tmp_path / "short.wav", samples[:300])
    with pytest.raises(FormatError, match="short.wav: the utterance is shorter than one frame"):
        read_frames(tmp_path / "short.wav", settings)


def test_audio_without_soundfile_is_refused_by_the_name_of_the_package(tmp_path):
    (tmp_path / "a.flac").write_bytes(b"")
    with mock.patch.dict(sys.modules, {"soundfile": None}):
        with pytest.raises(UsageError, match="a.flac: audio is read by the package soundfile, .*pip install soundfile"):
            read_file(tmp_path / "a.flac")


@pytest.mark.parametrize(
    "name,data,message",
    [
        ("a.mfc", b"\0\0\0\x1a" + bytes(100), "a.mfc: must be a count and as many numbers .*, got 26 and 104 bytes"),
        ("a.mfc", b"\0\0", "a.mfc: must be a count and as many numbers of 4 bytes, got 0 and 2 bytes"),
        ("a.mfc", b"\0\0\0\x01" + bytes(4), "a.mfc: a frame has 13 cepstra, got 1 numbers"),
        ("a.mfc", b"\0\0\0\0", "a.mfc: a frame has 13 cepstra, got 0 numbers"),
        ("a.mfc", b"\0\0\0\x0d" + b"\x7f\xc0\0\0" * 13, "a.mfc holds numbers that are infinite or NaN"),
        ("a.npy", b"no array", "a.npy is no array of numbers that numpy can read"),
        ("a.mp3", b"", "a.mp3: files must end in .mfc, .npy, .wav, .flac, got '.mp3'"),
    ],
)
def test_files_that_break_their_format_are_refused(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError, match=message):
        read_file(tmp_path / name)


def test_arrays_of_other_shapes_and_missing_files_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 3, 4)))
    with pytest.raises(FormatError, match=r"a.npy: must be frames \(T, F\) or samples .*, got the shape \(2, 3, 4\)"):
        read_file(tmp_path / "a.npy")
    with pytest.raises(FormatError, match="b.mfc does not exist, or is no file"):
        read_file(tmp_path / "b.mfc")


@pytest.mark.parametrize("rate,bins,samples", [(16_000, 40, 5000), (8000, 23, 1999), (16_000, 80, 400)])
def test_filterbanks_are_those_of_kaldi(rate, bins, samples):
    """Against torchaudio's module, which needs none of the compiled parts that its package loads."""
    found = importlib.util.find_spec("torchaudio")
    if found is None:
        pytest.skip("torchaudio is not installed")
    path = Path(found.submodule_search_locations[0]) / "compliance/kaldi.py"
    spec = importlib.util.spec_from_file_location("kaldi", path)
    kaldi = importlib.util.module_from_spec(spec)
    with mock.patch.dict(sys.modules, {"torchaudio": types.ModuleType("torchaudio")}):
        spec.loader.exec_module(kaldi)
    waveform = torch.randn(samples) * 0.1
    wanted = kaldi.fbank(waveform[None] * 2**15, num_mel_bins=bins, sample_frequency=rate)
    assert torch.allclose(torch.from_numpy(filterbanks.log_mel(waveform.numpy(), rate, bins)), wanted, atol=1e-3)


def test_the_slope_of_a_line_is_its_slope():
    frames = np.stack([3.0 * np.arange(9), np.full(9, 2.0)], axis=1)
    deltas = filterbanks.with_deltas(frames, 2)
    assert deltas.shape == (9, 6)
    assert np.allclose(deltas[2:-2, 2:4], [3.0, 0.0]) and np.allclose(deltas[4, 4:], 0.0)
    assert filterbanks.with_deltas(frames, 0) is not frames and (filterbanks.with_deltas(frames, 0) == frames).all()


def test_normalisation_is_of_each_number_over_the_utterance(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(50, 3)) * [1, 5, 9] + [0, 4, 8])
    mean, both = (read_frames(tmp_path / "a.npy", Settings(normalize=how)) for how in ("mean", "mean-variance"))
    assert np.allclose(mean.mean(axis=0), 0, atol=1e-5) and mean.std(axis=0)[2] > 5
    assert np.allclose(both.mean(axis=0), 0, atol=1e-5) and np.allclose(both.std(axis=0), 1, atol=1e-3)


def test_no_setting_names_a_choice_that_is_not_there():
    assert Settings().normalize in filterbanks.NORMALIZATIONS and Settings().audio in features.AUDIO


# --------------------------------------------------------------------------------------------------------- lexicons


def test_a_lexicon_may_have_homophones_and_several_spellings(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("READ\tr eh d\nRED\tr eh d\n\nREAD\tr iy d\nREAD\tr eh d\n")
    lexicon = read_lexicon(path, {"r", "eh", "iy", "d"})
    assert lexicon.pronunciations == [
        Pronunciation("READ", ("r", "eh", "d")),
        Pronunciation("RED", ("r", "eh", "d")),
        Pronunciation("READ", ("r", "iy", "d")),
    ]
    assert len(lexicon) == 3 and "RED" in lexicon and "BLUE" not in lexicon
    assert lexicon.word_of[("r", "eh", "d")] == "READ" and len(lexicon.of_word["READ"]) == 2
    write_lexicon(tmp_path / "separated.txt", lexicon, "SIL")
    separated = read_lexicon(tmp_path / "separated.txt", {"r", "eh", "iy", "d", "SIL"})
    assert separated.of_word["RED"] == [("r", "eh", "d", "SIL")]
    assert separated.without("SIL").pronunciations == lexicon.without(None).pronunciations == lexicon.pronunciations
    with pytest.raises(FormatError, match="the lexicon spells the word 'RED' with nothing but 'SIL'"):
        Lexicon([Pronunciation("RED", ("SIL",))]).without("SIL")
    write_lexicon(tmp_path / "again.txt", lexicon)
    assert read_lexicon(tmp_path / "again.txt", {"r", "eh", "iy", "d"}).pronunciations == lexicon.pronunciations


@pytest.mark.parametrize(
    "text,message",
    [
        ("A\ta\nB\ta x a\n", "lexicon.txt, line 2: the unit 'x' of the word 'B' is not in the dictionary of units"),
        ("A\ta\nB\t\n", "line 2: the word 'B' has no spelling; must be a word, a tab and its units"),
        ("\ta a\n", "line 1: must begin with a word, got"),
        ("\n", "lexicon.txt holds no word"),
    ],
)
def test_a_lexicon_that_breaks_the_format_is_refused(tmp_path, text, message):
    (tmp_path / "lexicon.txt").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_lexicon(tmp_path / "lexicon.txt", {"a"})


def test_a_word_that_is_not_in_the_lexicon_is_named_with_its_line():
    lexicon = Lexicon([Pronunciation("A", ("a",))])
    lexicon.check(["A A", ""], "train.wrd")
    with pytest.raises(FormatError, match="train.wrd, line 2: the word 'B' is not in the lexicon"):
        lexicon.check(["A", "A B"], "train.wrd")


def test_cmus_dictionary_numbers_the_ways_of_a_word(tmp_path):
    (tmp_path / "cmu").write_text(";;; a comment\nA  AH\nA(2)  EY\n(1)  W AH N\n")
    assert read_cmu_lexicon(tmp_path / "cmu").of_word == {"A": [("AH",), ("EY",)], "(1)": [("W", "AH", "N")]}
    (tmp_path / "cmu").write_text("A  AH\nB\n")
    with pytest.raises(FormatError, match="cmu, line 2: the word 'B' has no pronunciation"):
        read_cmu_lexicon(tmp_path / "cmu")


# ------------------------------------------------------------------------------------------------------------ units


def test_doubled_units_are_written_with_repetition_symbols():
    assert with_repetitions("hello", 1) == list("hel1o")
    assert with_repetitions("aaab", 2) == list("a2b")
    assert with_repetitions("abc", 0) == list("abc")
    assert without_repetitions(list("1hel1o"), 1) == list("hello")
    with pytest.raises(ValueError, match="`most` must be at least 1 to write 'l' 2 times, got 0"):
        with_repetitions("hello", 0)


@given(st.text("ab", max_size=8))
def test_repetition_symbols_lose_nothing(text):
    written = with_repetitions(text, 8)
    assert without_repetitions(written, 8) == list(text)
    assert all(a != b for a, b in zip(written, written[1:], strict=False))


def test_words_are_what_stands_between_separators():
    assert spelled(["TO", "GO"], tuple, "|") == list("TO|GO|") and spelled(["TO"], tuple, None) == ["T", "O"]
    assert words_of("||TO||GO", "|") == "TO GO" and words_of("TO|", None) == "TO|" and words_of("", "|") == ""
    assert words_of(["t", "uw", "SIL", "g"], "SIL", {("t", "uw"): "TWO"}) == "TWO g"


def test_a_blank_is_needed_between_equal_neighbours():
    assert least_frames("hello", blank=True) == 6 and least_frames("hello", blank=False) == 5
    assert least_frames("", blank=True) == 0
