"""A GRU encoder-decoder with attention (global, multiplicative: Luong et al. 2015), for `search_translation`.

The decoder's recurrence does not read the attention, so training runs over all positions at once; and what attention
needs of the encoder's output, keys and values, is projected once a sentence, in the encoder:

    h_t = GRU(e_t, h_{t-1});   f_t = tanh(W h_t + sum_s softmax_s(h_t . key_s) value_s);   scores = U f_t
"""

from dataclasses import dataclass, field

import torch
from fairseq import utils
from fairseq.dataclass import FairseqDataclass
from fairseq.models import FairseqEncoderDecoderModel, register_model, register_model_architecture
from fairseq.modules import FairseqDropout
from torch import Tensor, nn

from seqsearch_fairseq.models.gru_gates import Gates
from seqsearch_fairseq.models.gru_step import Attention, GRUStep
from seqsearch_fairseq.models.recurrent import (
    RecurrentDecoder,
    RecurrentEncoder,
    embedding_table,
    named_sizes,
    recurrent,
)

SPREAD = 1.0  # of the embeddings: with small ones the attention needs thousands of updates to align


@dataclass
class AttentionGRUConfig(FairseqDataclass):
    encoder_embed_dim: int = field(default=256, metadata={"help": "size of the source embeddings"})
    encoder_hidden_size: int = field(default=256, metadata={"help": "hidden units of the encoder, each direction"})
    encoder_layers: int = field(default=1, metadata={"help": "layers of the bidirectional encoder"})
    decoder_embed_dim: int = field(default=256, metadata={"help": "size of the target embeddings"})
    decoder_hidden_size: int = field(default=256, metadata={"help": "hidden units of the decoder"})
    dropout: float = field(default=0.1, metadata={"help": "dropout on embeddings and on the outputs of both networks"})


class AttentionGRUEncoder(RecurrentEncoder):
    """Embeddings, a bidirectional GRU, and what the decoder needs of its outputs (C = decoder_hidden_size):

    `keys` and `values` (B, S, C), `padding` (B, S) bool, `state` (B, C) that the decoder begins with.
    """

    def __init__(self, cfg: AttentionGRUConfig, dictionary):
        super().__init__(dictionary)
        self.padding_idx = dictionary.pad()
        self.embed_tokens = embedding_table(len(dictionary), cfg.encoder_embed_dim, self.padding_idx, SPREAD)
        self.dropout = FairseqDropout(cfg.dropout, module_name=type(self).__name__)
        self.rnn = recurrent(
            "gru",
            cfg.encoder_embed_dim,
            cfg.encoder_hidden_size,
            cfg.encoder_layers,
            cfg.dropout,
            bidirectional=True,
        )
        width = 2 * cfg.encoder_hidden_size
        self.keys = nn.Linear(width, cfg.decoder_hidden_size, bias=False)
        self.values = nn.Linear(width, cfg.decoder_hidden_size, bias=False)
        self.state = nn.Linear(width, cfg.decoder_hidden_size)

    def forward(self, src_tokens: Tensor, src_lengths: Tensor, **unused) -> dict[str, list[Tensor]]:
        """From source tokens (B, S), padded on either side."""
        src_tokens = utils.convert_padding_direction(src_tokens, self.padding_idx, left_to_right=True)
        words = self.dropout(self.embed_tokens(src_tokens))
        outputs, final = self.read(words, src_lengths)
        outputs = self.dropout(outputs)
        return {
            "keys": [self.keys(outputs)],
            "values": [self.values(outputs)],
            "padding": [src_tokens.eq(self.padding_idx)],
            "state": [torch.tanh(self.state(torch.cat([final[-2], final[-1]], dim=1)))],
        }


class AttentionGRUDecoder(RecurrentDecoder):
    """See the module. Several rows may share a sentence of the encoder's output: row b * K + k is of sentence b."""

    def __init__(self, cfg: AttentionGRUConfig, dictionary):
        super().__init__(dictionary)
        self.embed_tokens = embedding_table(len(dictionary), cfg.decoder_embed_dim, dictionary.pad(), SPREAD)
        self.dropout = FairseqDropout(cfg.dropout, module_name=type(self).__name__)
        self.rnn = recurrent("gru", cfg.decoder_embed_dim, cfg.decoder_hidden_size)
        self.hidden = nn.Linear(cfg.decoder_hidden_size, cfg.decoder_hidden_size)
        self.fc_out = nn.Linear(cfg.decoder_hidden_size, len(dictionary))

    def extract_features(self, prev_output_tokens, encoder_out=None, incremental_state=None, **unused):
        """What `output_layer` reads: (B, T, D)."""
        state = None
        if incremental_state is not None:
            prev_output_tokens = prev_output_tokens[:, -1:]
            state = self.load_state(incremental_state)
        if state is None:
            begin = encoder_out["state"][0]
            state = begin.repeat_interleave(len(prev_output_tokens) // len(begin), dim=0).unsqueeze(0)
        outputs, state = self.rnn(self.dropout(self.embed_tokens(prev_output_tokens)), state)
        if incremental_state is not None:
            self.save_state(incremental_state, state)
        return self.features_of(outputs, encoder_out), None

    def features_of(self, outputs: Tensor, encoder_out) -> Tensor:
        return self.dropout(torch.tanh(self.hidden(outputs) + self.attend(outputs, encoder_out)))

    def attend(self, outputs: Tensor, encoder_out) -> Tensor:
        """The mean value under the attention of each output: (N, T, C) from (N, T, C)."""
        keys, values, padding = (encoder_out[name][0] for name in ("keys", "values", "padding"))
        queries = outputs.reshape(len(keys), -1, outputs.size(2))  # (B, K * T, C)
        scores = torch.bmm(queries, keys.transpose(1, 2)).masked_fill(padding.unsqueeze(1), float("-inf"))
        return torch.bmm(torch.softmax(scores, dim=2), values).view_as(outputs)

    has_all_states = True

    def all_states(self, prev_output_tokens: Tensor, encoder_out) -> tuple[Tensor, Tensor]:
        """What `output_layer` reads, and the recurrent states: (B, T, D) each, T at once."""
        start = encoder_out["state"][0].unsqueeze(0)
        outputs, _ = self.rnn(self.dropout(self.embed_tokens(prev_output_tokens)), start)
        return self.features_of(outputs, encoder_out), outputs

    def gru_step(self, encoder_out, scores, output, products: torch.dtype) -> GRUStep:
        """A faster step without gradient and dropout, whose products are made in the type `products`."""
        keys, values, padding = (encoder_out[name][0] for name in ("keys", "values", "padding"))
        attention = Attention.of(self.hidden.weight, self.hidden.bias, keys, values, padding, products)
        gates, initial = Gates(self.rnn, self.embed_tokens.weight, products), encoder_out["state"][0]
        return GRUStep(gates, self.dictionary.eos(), scores, output, initial, attention=attention)


@register_model("attention_gru", dataclass=AttentionGRUConfig)
class AttentionGRUModel(FairseqEncoderDecoderModel):
    """Bidirectional GRU encoder, GRU decoder with attention."""

    @classmethod
    def build_model(cls, cfg, task):
        return cls(AttentionGRUEncoder(cfg, task.source_dictionary), AttentionGRUDecoder(cfg, task.target_dictionary))


# Leblond et al. 2018, spelling correction.
register_model_architecture("attention_gru", "spelling_leblond2018")(
    named_sizes(
        AttentionGRUConfig,
        encoder_embed_dim=100,
        encoder_hidden_size=100,
        decoder_embed_dim=100,
        decoder_hidden_size=100,
        dropout=0.0,
    )
)
