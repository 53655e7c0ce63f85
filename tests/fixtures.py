"""What the tests of the command line and of the glue share: two tiny corpora, and models trained on them."""

from pathlib import Path
from typing import NamedTuple

import commands
import corpora
import pytest
import speech

EPOCHS = {"lstm": 12, "attention_gru": 12, "transformer": 10, "tagger_lstm": 6, "tagger_gru": 4}


class Corpus(NamedTuple):
    task: str
    text: Path  # {train,valid,test,small}.{src,tgt}
    data: Path  # what fairseq-preprocess made of them


class Trained(NamedTuple):
    """A model trained with cross entropy."""

    arch: str
    corpus: Corpus
    checkpoint: Path

    @property
    def task(self) -> str:
        return self.corpus.task

    @property
    def data(self) -> Path:
        return self.corpus.data


@pytest.fixture(scope="session")
def translation(tmp_path_factory) -> Corpus:
    return _corpus(tmp_path_factory, "translation", corpora.write_translation)


@pytest.fixture(scope="session")
def tagging(tmp_path_factory) -> Corpus:
    return _corpus(tmp_path_factory, "tagging", corpora.write_tagging)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, translation, tagging):
    """`trained(arch)`: a small model of that arch, trained when it is first asked for."""

    def get(arch: str) -> Trained:
        corpus = tagging if arch.startswith("tagger") else translation

        def build(folder: Path):
            flags = [*commands.TINY[arch], *commands.OPTIMIZER, "--criterion", "cross_entropy"]
            commands.train(
                corpus.data, corpus.task, folder, *flags, "--max-epoch", EPOCHS[arch], "--no-last-checkpoints"
            )

        folder = commands.once(tmp_path_factory, arch, build)
        return Trained(arch, corpus, folder / "checkpoint_best.pt")

    return get


@pytest.fixture(scope="session")
def spoken(tmp_path_factory) -> Path:
    """The data folder of the tiny corpus of speech."""
    return commands.once(tmp_path_factory, "speech", speech.prepare) / "data"


@pytest.fixture(scope="session")
def rnnlm(tmp_path_factory, spoken) -> Path:
    """The file of a small recurrent language model of its words."""
    return commands.once(tmp_path_factory, "rnnlm", lambda folder: speech.train_lm(spoken, folder / "lm.pt")) / "lm.pt"


@pytest.fixture(scope="session")
def recognizer(tmp_path_factory, spoken) -> Path:
    """The checkpoint of a small recogniser, trained with fairseq's `ctc`; `train.log` beside it is what was logged."""

    def build(folder: Path):
        said = commands.train(spoken, "search_recognition", folder, *speech.TINY, "--max-epoch", 6)
        (folder / "train.log").write_text(said.text)

    return commands.once(tmp_path_factory, "recognizer", build) / "checkpoint_last.pt"


def _corpus(tmp_path_factory, kind: str, write) -> Corpus:
    folder = commands.once(
        tmp_path_factory, kind, lambda folder: commands.preprocess(write(folder / "text"), folder / "bin")
    )
    return Corpus(f"search_{kind}", folder / "text", folder / "bin")
