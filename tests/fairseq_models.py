"""Tiny fairseq models with random weights, in float64, and a batch of sources for them. Nothing is read from files."""

from argparse import Namespace
from collections.abc import Callable
from typing import NamedTuple

import torch
from fairseq.data import Dictionary
from fairseq.models.lstm import LSTMDecoder, LSTMEncoder, LSTMModel
from fairseq.models.transformer import TransformerModel
from torch import Tensor, nn

from seqsearch_fairseq.models.attention_gru import AttentionGRUConfig, AttentionGRUModel
from seqsearch_fairseq.models.tagger import TaggerConfig, TaggerModel

SYMBOLS = 5  # beside fairseq's four specials
SIZE = 6  # hidden units, everywhere unless an option says otherwise
SOURCE_LENGTHS = (4, 4, 2)  # longest first: fairseq's LSTM encoder wants that


def dictionary(symbols: int = SYMBOLS) -> Dictionary:
    built = Dictionary()
    for i in range(symbols):
        built.add_symbol(f"t{i}")
    return built


def lstm(
    layers: int = 1, bidirectional: bool = False, joined: bool = False, std: float = 0.8, **decoder_options
) -> nn.Module:
    """fairseq's `lstm`; `decoder_options` are arguments of `LSTMDecoder`."""
    source = dictionary()
    target = source if joined else dictionary()
    encoder = LSTMEncoder(
        source, SIZE, SIZE, num_layers=layers, dropout_in=0, dropout_out=0, bidirectional=bidirectional
    )
    sizes = {"embed_dim": SIZE, "hidden_size": SIZE, "out_embed_dim": SIZE}
    shared = {"pretrained_embed": encoder.embed_tokens, "share_input_output_embed": True} if joined else {}
    arguments = {"num_layers": layers, "dropout_in": 0, "dropout_out": 0, "encoder_output_units": encoder.output_units}
    decoder = LSTMDecoder(target, **{**arguments, **sizes, **shared, **decoder_options})
    return _ready(LSTMModel(encoder, decoder), std)


def transformer(layers: int = 1, joined: bool = False, std: float = 0.8, **options) -> nn.Module:
    """fairseq's `transformer`; `options` are its command-line options."""
    source = dictionary()
    sizes = {f"{side}_{name}": SIZE for side in ("encoder", "decoder") for name in ("embed_dim", "ffn_embed_dim")}
    counts = {f"{side}_layers": layers for side in ("encoder", "decoder")}
    heads = {f"{side}_attention_heads": 2 for side in ("encoder", "decoder")}
    args = Namespace(dropout=0.0, share_all_embeddings=joined, **{**sizes, **counts, **heads, **options})
    task = Namespace(source_dictionary=source, target_dictionary=source if joined else dictionary())
    return _ready(TransformerModel.build_model(args, task), std)


def tagger(std: float = 0.8, **options) -> nn.Module:
    """Our tagger; `options` are fields of `TaggerConfig`."""
    sizes = {"encoder_embed_dim": SIZE, "encoder_hidden_size": 4, "decoder_embed_dim": 3, "decoder_hidden_size": SIZE}
    task = Namespace(source_dictionary=dictionary(), target_dictionary=dictionary())
    return _ready(TaggerModel.build_model(TaggerConfig(dropout=0.0, **{**sizes, **options}), task), std)


def attention_gru(std: float = 0.8, **options) -> nn.Module:
    """Our GRU with attention; `options` are fields of `AttentionGRUConfig`."""
    sizes = {"encoder_embed_dim": SIZE, "encoder_hidden_size": 4, "decoder_embed_dim": 3, "decoder_hidden_size": SIZE}
    task = Namespace(source_dictionary=dictionary(), target_dictionary=dictionary())
    return _ready(AttentionGRUModel.build_model(AttentionGRUConfig(dropout=0.0, **{**sizes, **options}), task), std)


FAMILIES: dict[str, Callable[..., nn.Module]] = {
    "lstm": lstm,
    "transformer": transformer,
    "tagger": tagger,
    "attention_gru": attention_gru,
}


class Source(NamedTuple):
    """A batch of source sentences, padded as the model wants it."""

    src_tokens: Tensor  # (B, S)
    src_lengths: Tensor  # (B,)


def source(model: nn.Module, lengths: tuple[int, ...] = SOURCE_LENGTHS, seed: int = 0) -> Source:
    """Random sentences, padded on the left for fairseq's models, on the right for a tagger."""
    words, draws = model.encoder.dictionary, torch.Generator().manual_seed(seed)
    tokens = torch.full((len(lengths), max(lengths)), words.pad())
    for row, length in zip(tokens, lengths, strict=True):
        sentence = torch.randint(words.nspecial, len(words), (length,), generator=draws)
        if isinstance(model, TaggerModel):
            row[:length] = sentence
        else:
            row[len(row) - length :] = sentence
    return Source(tokens, torch.tensor(lengths))


def random_targets(model: nn.Module, rows: int, length: int, seed: int = 1) -> Tensor:
    """(rows, length) tokens of the target dictionary, specials left out."""
    words, draws = model.decoder.dictionary, torch.Generator().manual_seed(seed)
    return torch.randint(words.nspecial, len(words), (rows, length), generator=draws)


def full_scores(model: nn.Module, encoder_out, targets: Tensor) -> Tensor:
    """(rows, T, V) teacher-forced log-probabilities of the decoder's plain forward, no incremental state."""
    start = targets.new_full((len(targets), 1), model.decoder.dictionary.eos())
    logits = model.decoder(torch.cat([start, targets[:, :-1]], dim=1), encoder_out=encoder_out)[0]
    return torch.log_softmax(logits, dim=-1)


def _ready(model: nn.Module, std: float) -> nn.Module:
    """In evaluation mode, in float64, with weights so large that what is fed back matters."""
    draws = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.double().named_parameters():
            noise = std * torch.randn(parameter.shape, generator=draws, dtype=parameter.dtype)
            parameter.copy_(1 + noise / 4 if "norm" in name and name.endswith("weight") else noise)
    return model.eval()
