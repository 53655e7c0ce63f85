"""What this package's recurrent models share: their sizes by name, their encoders' and their decoders' common part."""

from fairseq.models import FairseqEncoder, FairseqIncrementalDecoder
from torch import Tensor, nn

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}
MAX_POSITIONS = 100_000
STATE_NAMES = ("prev_hiddens", "prev_cells")  # as in fairseq's LSTM decoder; tensors are (layers, B, hidden)

RecurrentState = Tensor | tuple[Tensor, ...]


class RecurrentEncoder(FairseqEncoder):
    """An encoder over a recurrent network `rnn`, whose outputs are tensors with the sentences first."""

    rnn: nn.RNNBase

    def read(self, words: Tensor, lengths: Tensor) -> tuple[Tensor, RecurrentState]:
        """Outputs (B, S, C) and last states of the network on words (B, S, E), which are padded on the right."""
        packed = nn.utils.rnn.pack_padded_sequence(words, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, final = self.rnn(packed)
        return nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=words.size(1))[0], final

    def reorder_encoder_out(self, encoder_out, new_order):
        return {
            name: [t.index_select(0, new_order) for t in values] if isinstance(values, list) else values
            for name, values in encoder_out.items()
        }

    def max_positions(self):
        return MAX_POSITIONS


class RecurrentDecoder(FairseqIncrementalDecoder):
    """A decoder whose only incremental state is that of its recurrent network. Subclasses define `extract_features`."""

    fc_out: nn.Linear

    def forward(self, prev_output_tokens, encoder_out=None, incremental_state=None, src_lengths=None, **unused):
        """Logits (B, T, V) for T previous tokens, or for the last of them when `incremental_state` is given."""
        return self.output_layer(self.extract_features(prev_output_tokens, encoder_out, incremental_state)[0]), None

    def output_layer(self, features: Tensor) -> Tensor:
        return self.fc_out(features)

    def load_state(self, incremental_state) -> RecurrentState | None:
        """What the recurrent network goes on from; None before the first step."""
        cached = self.get_incremental_state(incremental_state, "cached_state")
        if cached is None:
            return None
        tensors = tuple(cached[name] for name in STATE_NAMES if name in cached)
        return tensors if len(tensors) > 1 else tensors[0]

    def save_state(self, incremental_state, state: RecurrentState) -> None:
        tensors = state if isinstance(state, tuple) else (state,)
        self.set_incremental_state(incremental_state, "cached_state", dict(zip(STATE_NAMES, tensors, strict=False)))

    def reorder_incremental_state(self, incremental_state, new_order):
        state = self.load_state(incremental_state)
        if state is not None:
            rows = [t.index_select(1, new_order) for t in (state if isinstance(state, tuple) else (state,))]
            self.save_state(incremental_state, tuple(rows) if len(rows) > 1 else rows[0])

    def max_positions(self):
        return MAX_POSITIONS


def recurrent(
    cell: str, inputs: int, hidden: int, layers: int = 1, dropout: float = 0.0, bidirectional: bool = False
) -> nn.RNNBase:
    """A recurrent network that has the sentences first, and dropout between its layers."""
    between = dropout if layers > 1 else 0.0
    return CELLS[cell](inputs, hidden, layers, batch_first=True, dropout=between, bidirectional=bidirectional)


def embedding_table(count: int, size: int, padding: int, spread: float = 0.1) -> nn.Embedding:
    """Embeddings drawn evenly from -spread to spread, but for the padding's, which is zero."""
    embedding = nn.Embedding(count, size, padding_idx=padding)
    nn.init.uniform_(embedding.weight, -spread, spread)
    nn.init.zeros_(embedding.weight[padding])
    return embedding


def named_sizes(config, **sizes):
    """An arch: the defaults of the dataclass `config` with `sizes` in place of some."""

    def arch(args):
        for name, value in {**vars(config()), **sizes}.items():
            if not name.startswith("_"):
                setattr(args, name, getattr(args, name, value))

    return arch
