"""Recognisers: a convolution over time, which subsamples the frames, and a bidirectional LSTM that scores units."""

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model, register_model_architecture
from fairseq.modules import FairseqDropout
from torch import Tensor, nn

from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.models.recurrent import named_sizes, recurrent

Lengths = TypeVar("Lengths", int, np.ndarray, Tensor)


@dataclass
class RecognizerConfig(FairseqDataclass):
    encoder_channels: int = field(default=128, metadata={"help": "outputs of the convolution over time"})
    encoder_kernel: int = field(default=5, metadata={"help": "frames that the convolution reads at once"})
    encoder_subsampling: int = field(
        default=3,
        metadata={"help": "frames from one position of the convolution to the next; one output frame for each"},
    )
    encoder_hidden_size: int = field(default=128, metadata={"help": "hidden units of the LSTM, each direction"})
    encoder_layers: int = field(default=2, metadata={"help": "layers of the LSTM"})
    dropout: float = field(default=0.2, metadata={"help": "dropout on the outputs of the convolution and of the LSTM"})


@register_model("recognizer_lstm", dataclass=RecognizerConfig)
class RecognizerModel(BaseFairseqModel):
    """From frames (B, T, F) to scores of units at every `encoder_subsampling`-th frame.

    Padding never changes what is said of an utterance: it is zero before the convolution, as what lies beyond the ends
    of a lone utterance is, and the LSTM does not read it.
    """

    def __init__(self, cfg: RecognizerConfig, inputs: int, units: int):
        super().__init__()
        if not 1 <= cfg.encoder_subsampling <= cfg.encoder_kernel:
            raise UsageError(
                f"--encoder-subsampling must be in [1, {cfg.encoder_kernel}], or some frames would never be read (the "
                f"upper end is --encoder-kernel), got {cfg.encoder_subsampling}"
            )
        self.subsampling, self.kernel = cfg.encoder_subsampling, cfg.encoder_kernel
        self.convolution = nn.Conv1d(inputs, cfg.encoder_channels, self.kernel, stride=self.subsampling)
        self.dropout = FairseqDropout(cfg.dropout, module_name=type(self).__name__)
        self.rnn = recurrent(
            "lstm", cfg.encoder_channels, cfg.encoder_hidden_size, cfg.encoder_layers, cfg.dropout, bidirectional=True
        )
        self.output = nn.Linear(2 * cfg.encoder_hidden_size, units)

    @classmethod
    def build_model(cls, cfg, task):
        """Raises `UsageError` if the task has no frames, but samples."""
        if not getattr(task, "input_size", None):
            raise UsageError("recognizer_lstm reads frames, of --task search_recognition, and no waveforms")
        return cls(cfg, task.input_size, len(task.target_dictionary))

    def forward(self, source: Tensor, padding_mask: Tensor | None = None, **unused) -> dict[str, Tensor]:
        """`encoder_out` (T', B, U), scores of units; `padding_mask` (B, T'), true where there is no frame."""
        if padding_mask is None:
            lengths = torch.full((len(source),), source.size(1), device=source.device)
        else:
            lengths = (~padding_mask).sum(dim=1)
            source = source.masked_fill(padding_mask.unsqueeze(2), 0.0)
        lengths, longest = self.output_lengths(lengths), self.output_lengths(source.size(1))
        left = (self.kernel - self.subsampling) // 2
        right = (longest - 1) * self.subsampling + self.kernel - left - source.size(1)
        frames = self.convolution(F.pad(source.transpose(1, 2), (left, right)))  # (B, C, T')
        frames = self.dropout(F.relu(frames).transpose(1, 2))
        packed = nn.utils.rnn.pack_padded_sequence(frames, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, _ = self.rnn(packed)
        outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=longest)
        padding = torch.arange(longest, device=source.device) >= lengths.unsqueeze(1)
        return {"encoder_out": self.output(self.dropout(outputs)).transpose(0, 1), "padding_mask": padding}

    def output_lengths(self, lengths: Lengths) -> Lengths:
        """Frames that are left of so many: a whole or begun stride each."""
        return (lengths + self.subsampling - 1) // self.subsampling

    def get_logits(self, net_output) -> Tensor:
        """(T', B, U)."""
        return net_output["encoder_out"]

    def get_normalized_probs(self, net_output, log_probs, sample=None) -> Tensor:
        """(T', B, U) float32 or wider."""
        logits = self.get_logits(net_output)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return F.log_softmax(logits, dim=-1) if log_probs else F.softmax(logits, dim=-1)


# Graves, Mohamed, Hinton 2013, CTC-3l-250h; Miao, Gowayyed, Metze 2015 (Eesen).
register_model_architecture("recognizer_lstm", "recognizer_graves2013")(
    named_sizes(RecognizerConfig, encoder_channels=250, encoder_hidden_size=250, encoder_layers=3)
)
register_model_architecture("recognizer_lstm", "recognizer_eesen2015")(
    named_sizes(RecognizerConfig, encoder_channels=320, encoder_hidden_size=320, encoder_layers=4)
)
