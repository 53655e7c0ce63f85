"""`--encoder-lookahead`: the words that an output of the tagger depends on; nothing else changes its scores."""

import fairseq_models
import pytest
import torch
from commands import OPTIMIZER, TINY, generate, train
from torch import Tensor

from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.models.tagger import parse_lookahead

CELLS = ("lstm", "gru")
LENGTHS = (7, 5, 3, 1)


def scores(model, words: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return fairseq_models.full_scores(model, model.encoder(words, lengths), labels)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lookahead", [0, 1, 2, 9])
@pytest.mark.parametrize("layers", [1, 2])
def test_words_beyond_the_lookahead_change_no_score(cell, lookahead, layers):
    model = fairseq_models.tagger(cell=cell, encoder_lookahead=str(lookahead), encoder_layers=layers)
    words, lengths = fairseq_models.source(model, LENGTHS)
    labels = fairseq_models.random_targets(model, len(LENGTHS), max(LENGTHS))
    before = scores(model, words, lengths, labels)
    special = model.encoder.dictionary.nspecial
    for i in range(max(LENGTHS)):
        others = words.clone()
        beyond = others[:, i + lookahead + 1 :]
        beyond.copy_(torch.where(beyond >= special, special + (beyond - special + 1) % 5, beyond))  # each another word
        after = scores(model, others, lengths, labels)
        assert torch.equal(after[:, : i + 1], before[:, : i + 1])
        if i + lookahead + 1 < LENGTHS[0]:
            assert not torch.equal(after[0, i + 1], before[0, i + 1])  # the first word that the next label waits for


@pytest.mark.parametrize("lookahead", ["0", "2", "9"])
def test_a_longer_sentence_changes_no_earlier_score(lookahead):
    model = fairseq_models.tagger(encoder_lookahead=lookahead)
    words, lengths = fairseq_models.source(model, (7,))
    labels = fairseq_models.random_targets(model, 1, 7)
    whole = scores(model, words, lengths, labels)
    for cut in range(1, 7):
        part = scores(model, words[:, :cut], torch.tensor([cut]), labels[:, :cut])
        known = max(cut - int(lookahead), 0)
        assert torch.allclose(part[:, :known], whole[:, :known], atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lookahead", ["0", "1", "3", "all"])
def test_padding_and_batching_change_no_score(cell, lookahead):
    model = fairseq_models.tagger(cell=cell, encoder_lookahead=lookahead)
    words, lengths = fairseq_models.source(model, LENGTHS)
    labels = fairseq_models.random_targets(model, len(LENGTHS), max(LENGTHS))
    batch = scores(model, words, lengths, labels)
    for row, length in enumerate(LENGTHS):
        alone = scores(model, words[row : row + 1, :length], lengths[row : row + 1], labels[row : row + 1, :length])
        assert torch.allclose(batch[row : row + 1, :length], alone, atol=1e-12)


def test_all_is_bidirectional_and_the_default():
    model = fairseq_models.tagger()
    assert model.encoder.rnn.bidirectional and model.encoder.output_size == 8
    assert not fairseq_models.tagger(encoder_lookahead="0").encoder.rnn.bidirectional


@pytest.mark.parametrize("text", ["-1", "1.5", "none", ""])
def test_a_lookahead_that_is_no_number_is_refused(text):
    with pytest.raises(UsageError, match="--encoder-lookahead must be a number of words, at least 0, or all"):
        parse_lookahead(text)


@pytest.mark.parametrize(
    "arch,criterion", [("tagger_gru", "searnn"), ("tagger_gru", "soft_beam_direct"), ("ner_goyal2018", "cross_entropy")]
)
def test_a_streaming_tagger_trains_and_decodes(tagging, tmp_path, arch, criterion):
    flags = ["--arch", arch, *TINY["tagger_gru"][2:], "--encoder-lookahead", 1, *OPTIMIZER]
    train(tagging.data, tagging.task, tmp_path, *flags, "--criterion", criterion, "--max-update", 2)
    decoded = generate(tagging.data, tagging.task, tmp_path / "checkpoint_last.pt", "--beam", 2)
    assert len(decoded.lines("H")) == len((tagging.text / "test.tgt").read_text().splitlines())


def test_a_bad_lookahead_ends_with_one_sentence(tagging, tmp_path):
    with pytest.raises(UsageError, match="--encoder-lookahead must be .*, got -1"):
        train(tagging.data, tagging.task, tmp_path, *TINY["tagger_lstm"], *OPTIMIZER, "--encoder-lookahead=-1")
