"""Taggers: a bidirectional or a streaming encoder, and a recurrent decoder whose attention is fixed.

When the decoder outputs the i-th label it reads the encoder's output at the i-th word (Goyal et al. 2018, section 4.1),
so there is no attention to learn. Its input is the previous label's embedding beside that encoder output.

With `--encoder-lookahead N` the encoder reads from left to right only, and its output at the i-th word is what the
recurrent network says there, beside what it says N words later: it depends on the words up to i + N.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models import FairseqEncoderDecoderModel, register_model, register_model_architecture
from fairseq.modules import FairseqDropout
from torch import Tensor, nn

from seqsearch_fairseq.data.embeddings import load_embeddings
from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.models.factors import FactorEmbeddings, embedding_sizes
from seqsearch_fairseq.models.gru_gates import Gates
from seqsearch_fairseq.models.gru_step import GRUStep
from seqsearch_fairseq.models.lstm_step import LSTMStep
from seqsearch_fairseq.models.recurrent import (
    CELLS,
    RecurrentDecoder,
    RecurrentEncoder,
    embedding_table,
    named_sizes,
    recurrent,
)

WHOLE_SENTENCE = "all"


@dataclass
class TaggerConfig(FairseqDataclass):
    cell: ChoiceEnum(list(CELLS)) = field(default="lstm", metadata={"help": "recurrent cell of encoder and decoder"})
    encoder_embed_dim: int = field(default=128, metadata={"help": "size of the word embeddings"})
    encoder_hidden_size: int = field(default=128, metadata={"help": "hidden units of the encoder, each direction"})
    encoder_layers: int = field(default=1, metadata={"help": "layers of the encoder"})
    encoder_lookahead: str = field(
        default=WHOLE_SENTENCE,
        metadata={
            "help": "number of words after a word that the encoder reads before the word's label is predicted: 0 "
            "is a streaming tagger; 'all' is a bidirectional encoder, which reads the whole sentence"
        },
    )
    decoder_embed_dim: int = field(default=32, metadata={"help": "size of the label embeddings"})
    decoder_hidden_size: int = field(default=128, metadata={"help": "hidden units of the decoder"})
    decoder_layers: int = field(default=1, metadata={"help": "layers of the decoder"})
    encoder_embed_path: str = field(
        default="",
        metadata={
            "help": "text file of word embeddings (word2vec, GloVe, SENNA): a word and its numbers on each line; "
            "a first line with the number of words and of dimensions may come before them"
        },
    )
    encoder_freeze_embed: bool = field(default=False, metadata={"help": "do not train the word embeddings"})
    encoder_factor_embed_dim: str = field(
        default="16",
        metadata={
            "help": "size of the embeddings of --tagging-factors: one number for all, or one for each factor (16,8)"
        },
    )
    dropout: float = field(default=0.1, metadata={"help": "dropout on embeddings and on the outputs of both networks"})


@dataclass
class TaggerGRUConfig(TaggerConfig):
    cell: ChoiceEnum(list(CELLS)) = field(default="gru", metadata={"help": "recurrent cell of encoder and decoder"})


class TaggerEncoder(RecurrentEncoder):
    """Embeddings of words and of their factors, and a recurrent network over both.

    The network is bidirectional, or with `encoder_lookahead` N it reads from left to right, and an output holds what it
    says at a word and, for N > 0, N words later. Alone, the latter is learned slowly: the word must be kept N steps.
    Sentences are padded on the right. `factors` are the factors' dictionaries by name.
    """

    def __init__(self, cfg: TaggerConfig, dictionary, factors: dict | None = None):
        super().__init__(dictionary)
        self.embed_tokens = embedding_table(len(dictionary), cfg.encoder_embed_dim, dictionary.pad())
        if cfg.encoder_embed_path:
            load_embeddings(self.embed_tokens, dictionary, cfg.encoder_embed_path)
        self.embed_tokens.weight.requires_grad = not cfg.encoder_freeze_embed
        factors = factors or {}
        sizes = embedding_sizes(cfg.encoder_factor_embed_dim, list(factors))
        self.embed_factors = FactorEmbeddings(
            {name: embedding_table(len(symbols), sizes[name], symbols.pad()) for name, symbols in factors.items()}
        )
        self.dropout = FairseqDropout(cfg.dropout, module_name=type(self).__name__)
        self.lookahead = parse_lookahead(cfg.encoder_lookahead)
        inputs, both_ways = cfg.encoder_embed_dim + sum(sizes.values()), self.lookahead is None
        self.rnn = recurrent(str(cfg.cell), inputs, cfg.encoder_hidden_size, cfg.encoder_layers, cfg.dropout, both_ways)
        self.output_size = cfg.encoder_hidden_size * (1 if self.lookahead == 0 else 2)

    def forward(
        self, src_tokens: Tensor, src_lengths: Tensor, factors: Tensor | None = None, **unused
    ) -> dict[str, list[Tensor]]:
        """From words (B, S) and factors (B, F, S), padded on the right, to `encoder_out` (B, S, `output_size`)."""
        words = self.dropout(self.embed_factors(self.embed_tokens(src_tokens), factors))
        delay = self.lookahead or 0
        if delay > 0:  # the last words are read as late as the others: the network goes on over zeros
            inside = torch.arange(words.size(1), device=words.device) < src_lengths.unsqueeze(1)  # (B, S)
            words = F.pad(words * inside.unsqueeze(2), (0, 0, 0, delay))
        outputs, _ = self.read(words, src_lengths + delay)
        if delay > 0:
            outputs = torch.cat([outputs[:, :-delay], outputs[:, delay:]], dim=2)
        return {"encoder_out": [self.dropout(outputs)]}


class TaggerDecoder(RecurrentDecoder):
    """Recurrent decoder over [previous label; encoder output at the same position]."""

    def __init__(self, cfg: TaggerConfig, dictionary, encoder_size: int):
        super().__init__(dictionary)
        self.embed_tokens = embedding_table(len(dictionary), cfg.decoder_embed_dim, dictionary.pad())
        self.dropout = FairseqDropout(cfg.dropout, module_name=type(self).__name__)
        inputs = cfg.decoder_embed_dim + encoder_size
        self.rnn = recurrent(str(cfg.cell), inputs, cfg.decoder_hidden_size, cfg.decoder_layers, cfg.dropout)
        self.fc_out = nn.Linear(cfg.decoder_hidden_size, len(dictionary))

    def extract_features(self, prev_output_tokens, encoder_out=None, incremental_state=None, **unused):
        """What `output_layer` reads: (B, T, D). Several rows may share a sentence of the encoder's output."""
        memory = encoder_out["encoder_out"][0]  # (B, S, C)
        length = prev_output_tokens.size(1)
        state = None
        if incremental_state is not None:
            position = min(length - 1, memory.size(1) - 1)  # past the end only the end of sentence is left to say
            memory, prev_output_tokens = memory[:, position : position + 1], prev_output_tokens[:, -1:]
            state = self.load_state(incremental_state)
            if "step" in encoder_out:
                return self._stepped(prev_output_tokens, encoder_out, position, state, incremental_state), None
            if memory.size(0) != len(prev_output_tokens):
                memory = memory.repeat_interleave(len(prev_output_tokens) // memory.size(0), dim=0)
        elif length > memory.size(1):
            raise ValueError(f"a tagger outputs one label a word: {length} labels for {memory.size(1)} words")
        labels = self.dropout(self.embed_tokens(prev_output_tokens))
        outputs, state = self.rnn(torch.cat([labels, memory[:, : labels.size(1)]], dim=2), state)
        if incremental_state is not None:
            self.save_state(incremental_state, state)
        return self.dropout(outputs), None

    def prepared(self, encoder_out) -> dict:
        """The encoder's output for many steps with several rows a sentence, all of them with `incremental_state`."""
        if not LSTMStep.fits(self.rnn):
            return encoder_out
        step = LSTMStep(self.rnn, self.embed_tokens.embedding_dim)
        gates = step.gates_of(encoder_out["encoder_out"][0])  # (B, S, 4 D)
        return encoder_out | {"gates": list(gates.unbind(dim=1)), "step": step}

    def _stepped(self, tokens, encoder_out, position: int, state, incremental_state) -> Tensor:
        labels = self.dropout(self.embed_tokens(tokens)).squeeze(1)  # (N, E)
        state = None if state is None else tuple(part.squeeze(0) for part in state)
        hidden, cells = encoder_out["step"](labels, encoder_out["gates"][position], state)
        self.save_state(incremental_state, (hidden.unsqueeze(0), cells.unsqueeze(0)))
        return self.dropout(hidden).unsqueeze(1)

    @property
    def has_all_states(self) -> bool:
        return isinstance(self.rnn, nn.GRU) and self.rnn.num_layers == 1

    def all_states(self, prev_output_tokens: Tensor, encoder_out) -> tuple[Tensor, Tensor]:
        """What `output_layer` reads, and the recurrent states: (B, T, D) each, T at once."""
        memory = encoder_out["encoder_out"][0][:, : prev_output_tokens.size(1)]
        outputs, _ = self.rnn(torch.cat([self.dropout(self.embed_tokens(prev_output_tokens)), memory], dim=2))
        return self.dropout(outputs), outputs

    def gru_step(self, encoder_out, scores, output, products: torch.dtype) -> GRUStep | None:
        """A faster step without gradient and dropout; None where the recurrent network is of another kind.

        Its products are made in the type `products`.
        """
        if not self.has_all_states:
            return None
        gates, memory = Gates(self.rnn, self.embed_tokens.weight, products), encoder_out["encoder_out"][0]
        initial, of_memory = memory.new_zeros(len(memory), gates.size), (memory @ gates.of_memory).to(products)
        return GRUStep(gates, self.dictionary.eos(), scores, output, initial, memory=of_memory)


def parse_lookahead(text: str) -> int | None:
    """The number of words of `--encoder-lookahead`; None is the whole sentence.

    Raises:
        UsageError: neither `all` nor a whole number of at least 0.
    """
    if str(text) == WHOLE_SENTENCE:
        return None
    if not str(text).isdecimal():
        raise UsageError(f"--encoder-lookahead must be a number of words, at least 0, or all, got {text}")
    return int(text)


@register_model("tagger_lstm", dataclass=TaggerConfig)
class TaggerModel(FairseqEncoderDecoderModel):
    """Tagger with LSTM cells."""

    @classmethod
    def build_model(cls, cfg, task):
        factors = getattr(task, "factor_dictionaries", None)  # a task of fairseq's own has none
        encoder = TaggerEncoder(cfg, task.source_dictionary, factors)
        return cls(encoder, TaggerDecoder(cfg, task.target_dictionary, encoder.output_size))

    @classmethod
    def from_pretrained(cls, model_name_or_path, checkpoint_file="model.pt", data_name_or_path=".", **kwargs):
        """A `TaggerHubInterface`, whose `tag` labels sentences, from any checkpoint of `--task search_tagging`.

        Args:
            model_name_or_path: the folder of the checkpoint.
            checkpoint_file: its name, or several, separated by `:`, that are averaged.
            data_name_or_path: the folder of the dictionaries, relative to the checkpoint's where it begins with a dot.
                By default the checkpoint's own, or else the one that it was trained on.
            kwargs: values for names of the checkpoint's configuration.

        Raises:
            UsageError: no such checkpoint, or no dictionaries.
        """
        from seqsearch_fairseq.tagging.hub import from_pretrained  # here: it imports the adapters, and they this

        return from_pretrained(model_name_or_path, checkpoint_file, data_name_or_path, **kwargs)


@register_model("tagger_gru", dataclass=TaggerGRUConfig)
class TaggerGRUModel(TaggerModel):
    """Tagger with GRU cells."""


# Goyal et al. 2018, section 4: hidden units / label embeddings.
register_model_architecture("tagger_lstm", "ner_goyal2018")(
    named_sizes(TaggerConfig, encoder_embed_dim=64, encoder_hidden_size=64, decoder_hidden_size=64, decoder_embed_dim=8)
)
register_model_architecture("tagger_lstm", "ccg_goyal2018")(
    named_sizes(
        TaggerConfig, encoder_embed_dim=512, encoder_hidden_size=512, decoder_hidden_size=512, decoder_embed_dim=512
    )
)

# Leblond et al. 2018: OCR letters, and chunks.
register_model_architecture("tagger_gru", "ocr_leblond2018")(
    named_sizes(
        TaggerGRUConfig,
        encoder_embed_dim=128,
        encoder_hidden_size=128,
        decoder_hidden_size=128,
        decoder_embed_dim=128,
        dropout=0.0,
    )
)
register_model_architecture("tagger_gru", "chunking_leblond2018")(
    named_sizes(
        TaggerGRUConfig,
        encoder_embed_dim=172,
        encoder_hidden_size=172,
        encoder_layers=2,
        decoder_hidden_size=172,
        decoder_embed_dim=172,
        dropout=0.0,
    )
)
