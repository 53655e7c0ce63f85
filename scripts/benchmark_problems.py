"""The models and batches that benchmark.py measures. Not a program of its own."""

from argparse import Namespace
from typing import NamedTuple

import torch
from fairseq.data import Dictionary
from fairseq.models.lstm import LSTMDecoder, LSTMEncoder, LSTMModel
from torch import Tensor

from seqsearch_fairseq.adapters import FairseqStep
from seqsearch_fairseq.models.attention_gru import AttentionGRUConfig, AttentionGRUModel
from seqsearch_fairseq.models.tagger import TaggerConfig, TaggerGRUConfig, TaggerModel

SOURCE_WORDS = 1000


class Problem(NamedTuple):
    """A model and a batch of sentences that are all of one length."""

    model: torch.nn.Module
    source: Tensor  # (B, T) also the source's length, so that a tagger fits
    gold: Tensor  # (B, T)
    candidates: Tensor  # (V,) bool
    cells: int | None = None  # how many cells of a sentence searnn tries, the two at its end counted; None is all
    scores: str = "log-probs"  # the local scores that the soft beam adds up

    @property
    def lengths(self) -> Tensor:
        return torch.full((len(self.gold),), self.gold.size(1), device=self.gold.device)

    @property
    def previous(self) -> Tensor:
        eos = torch.full_like(self.gold[:, :1], self.model.decoder.dictionary.eos())
        return torch.cat([eos, self.gold[:, :-1]], dim=1)

    def encode(self):
        return self.model.encoder(self.source, self.lengths)

    def step(self, scores: str = "log-probs") -> FairseqStep:
        return FairseqStep(self.model, self.encode(), len(self.gold), scores)


def tagger(vocabulary: int, hidden: int, label_embedding: int, batch: int, length: int, device: str) -> Problem:
    words, labels = dictionary(SOURCE_WORDS), dictionary(vocabulary)
    sizes = {"encoder_embed_dim": hidden, "encoder_hidden_size": hidden, "decoder_hidden_size": hidden}
    cfg = TaggerConfig(dropout=0.0, decoder_embed_dim=label_embedding, **sizes)
    model = TaggerModel.build_model(cfg, Namespace(source_dictionary=words, target_dictionary=labels))
    return problem(model, vocabulary, batch, length, labels.nspecial, device)


def glyphs(device: str) -> Problem:
    """The letters of Taskar's OCR data: 26 of them and the end of sentence, as the authors count."""
    cfg = TaggerGRUConfig(
        dropout=0.0, encoder_embed_dim=128, encoder_hidden_size=128, decoder_hidden_size=128, decoder_embed_dim=128
    )
    words, labels = dictionary(SOURCE_WORDS), dictionary(27 + Dictionary().nspecial)
    model = TaggerModel.build_model(cfg, Namespace(source_dictionary=words, target_dictionary=labels))
    given = problem(model, len(labels), 64, 9, labels.nspecial, device)
    given.candidates[: labels.nspecial] = False
    return given


def attention_gru(size: int, vocabulary: int, batch: int, length: int, cells: int | None, device: str) -> Problem:
    words, targets = dictionary(SOURCE_WORDS), dictionary(vocabulary)
    sides = ("encoder_embed_dim", "encoder_hidden_size", "decoder_embed_dim", "decoder_hidden_size")
    cfg = AttentionGRUConfig(dropout=0.0, **dict.fromkeys(sides, size))
    model = AttentionGRUModel.build_model(cfg, Namespace(source_dictionary=words, target_dictionary=targets))
    given = problem(model, vocabulary, batch, length, targets.nspecial, device)
    given.gold[:, -1] = targets.eos()
    return given._replace(cells=cells)


def lstm(vocabulary: int, hidden: int, batch: int, length: int, device: str) -> Problem:
    words, targets = dictionary(SOURCE_WORDS), dictionary(vocabulary)
    encoder = LSTMEncoder(words, hidden, hidden, bidirectional=True, dropout_in=0, dropout_out=0)
    sizes = {"embed_dim": hidden, "hidden_size": hidden, "out_embed_dim": hidden}
    decoder = LSTMDecoder(targets, encoder_output_units=encoder.output_units, dropout_in=0, dropout_out=0, **sizes)
    return problem(LSTMModel(encoder, decoder), vocabulary, batch, length, targets.nspecial, device)


def dictionary(size: int) -> Dictionary:
    built = Dictionary()
    for i in range(size - built.nspecial):
        built.add_symbol(f"t{i}")
    return built


def problem(model, vocabulary: int, batch: int, length: int, specials: int, device: str) -> Problem:
    source = torch.randint(specials, SOURCE_WORDS, (batch, length), device=device)
    gold = torch.randint(specials, vocabulary, (batch, length), device=device)
    candidates = torch.ones(vocabulary, dtype=torch.bool, device=device)
    candidates[model.decoder.dictionary.pad()] = False
    return Problem(model.to(device), source, gold, candidates)


def sharpen(given: Problem, deviation: float) -> None:
    """Scale the output layer so that the scores have this standard deviation."""
    output = given.model.decoder.fc_out
    with torch.no_grad():
        scores = given.model.decoder(given.previous, encoder_out=given.encode(), src_lengths=given.lengths)[0]
        output.weight.mul_(deviation / scores.std())
