"""A fairseq decoder and its incremental state, seen as a `Step`.

No decoder is written again here. Each step runs the decoder's own incremental forward on dummy tokens, while a forward
hook on `decoder.embed_tokens` puts the (soft) input embedding in place of what the dummies would look up.
"""

import copy
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.models.lstm import AttentionLayer, LSTMDecoder
from fairseq.models.transformer import TransformerDecoderBase
from fairseq.modules import FairseqDropout
from torch import Tensor, nn

from seqsearch_fairseq.algorithms.step import OutputLayer, RowStep, State, Step
from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.models.attention_gru import AttentionGRUDecoder
from seqsearch_fairseq.models.tagger import TaggerDecoder

SUPPORTED = (LSTMDecoder, TransformerDecoderBase, TaggerDecoder, AttentionGRUDecoder)
LOCAL_SCORES = {
    "log-probs": lambda logits: F.log_softmax(logits, dim=-1),
    "logits": lambda logits: logits,
}
_BEGIN_FROM_ENCODER = (LSTMDecoder, AttentionGRUDecoder)  # the first step takes its state from the encoder, row by row
_BATCH_SECOND = ("prev_hiddens", "prev_cells")  # cached as (layers, N, D); everything else has N first


def check_decoder(decoder: nn.Module) -> None:
    """Refuse a decoder that cannot be stepped through with soft inputs.

    Raises:
        UsageError: the decoder's family is unknown, or one of its options changes what a step is.
    """
    name = type(decoder).__name__
    if not any(isinstance(decoder, kind) and type(decoder).forward is kind.forward for kind in SUPPORTED):
        known = ", ".join(kind.__name__ for kind in SUPPORTED)
        raise UsageError(f"search-aware training cannot step through the decoder {name}; supported are: {known}")
    if getattr(decoder, "adaptive_softmax", None) is not None:
        raise UsageError(
            f"{name} has an adaptive softmax, which gives no score for each single token; "
            "train it without --adaptive-softmax-cutoff and with a criterion other than adaptive_loss"
        )
    if not isinstance(decoder.embed_tokens, nn.Embedding):
        raise UsageError(
            f"{name} embeds its input with {type(decoder.embed_tokens).__name__}; a soft token needs a plain "
            "embedding table (no --adaptive-input, no quantised embeddings)"
        )
    if decoder.training and getattr(getattr(decoder, "cfg", None), "checkpoint_activations", False):
        raise UsageError(
            f"{name} recomputes its activations (--checkpoint-activations), which loses the gradients of its state "
            "from step to step; train without it"
        )
    if getattr(decoder, "decoder_layerdrop", 0.0) > 0.0:
        raise UsageError(
            f"{name} drops layers at random (--decoder-layerdrop {decoder.decoder_layerdrop}), so its steps do not "
            "share one state; set --decoder-layerdrop 0"
        )


def encode(model, net_input: dict):
    """What `model.encoder` makes of a batch's input, all of it but the decoder's: words, lengths, factors."""
    return model.encoder(**{name: value for name, value in net_input.items() if name != "prev_output_tokens"})


class FairseqStep:
    """A `Step` (see `algorithms/step.py`) of a stock fairseq decoder or of a tagger.

    Args:
        model: encoder-decoder model.
        encoder_out: what `model.encoder` returned for B sentences.
        batch_size: B.
        scores: `"log-probs"` or `"logits"`, the local score.
    """

    def __init__(self, model, encoder_out, batch_size: int, scores: str = "log-probs"):
        check_decoder(model.decoder)
        self.model = model
        self.decoder = model.decoder
        self.encoder_out = self._rows = self._prepared(encoder_out)
        self.batch_size = batch_size
        self.bos = self.decoder.dictionary.eos()  # fairseq begins a target sentence with the end-of-sentence symbol
        if scores not in LOCAL_SCORES:
            raise ValueError(f"`scores` must be one of {', '.join(LOCAL_SCORES)}, got {scores}")
        self._local_scores = scores
        self._products: torch.dtype | None = None  # that products are made in, where that is not the model's type
        self._faster = None  # what `_faster_step` returns, once it was asked for
        device = self.embedding.device.type
        self._autocast: dict[
            str, Any
        ] = {  # as where the step was made: a search turns it off for itself (`whole_precision`)
            "device_type": device,
            "dtype": torch.get_autocast_dtype(device),
            "enabled": torch.is_autocast_enabled(device),
        }

    def _prepared(self, encoder_out):
        """What a decoder makes of its encoder's output before it is stepped through, of one that does."""
        return self.decoder.prepared(encoder_out) if hasattr(self.decoder, "prepared") else encoder_out

    def with_products_in(self, dtype: torch.dtype) -> "FairseqStep":
        """See `Step.with_products_in`: by autocast, where the decoder has no step of its own for that.

        A model in half precision, or under `--amp`, is left as it is: its products are as narrow already.
        """
        if torch.finfo(self.embedding.dtype).bits <= torch.finfo(dtype).bits or self._autocast["enabled"]:
            return self
        step = copy.copy(self)
        step._autocast = self._autocast | {"dtype": dtype, "enabled": True}
        step._products, step._faster = dtype, None
        return step

    def scored_by(self, scores: str) -> "FairseqStep":
        """The same step with another local score."""
        step = copy.copy(self)
        step._local_scores, step._faster = scores, None
        return step

    @property
    def embedding(self) -> Tensor:
        return self.decoder.embed_tokens.weight

    @property
    def rows_share(self) -> bool:
        return attends_to_shared_rows(self.decoder)

    def inputs_of(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.embedding)

    def start(self, beam_size: int) -> State:
        self._rows = self.encoder_out
        own = not self.rows_share or isinstance(self.decoder, _BEGIN_FROM_ENCODER)
        if own and beam_size > 1:
            device = self.embedding.device
            order = torch.arange(self.batch_size, device=device).repeat_interleave(beam_size)
            self._rows = self.model.encoder.reorder_encoder_out(self.encoder_out, order)  # N rows, one a beam
        return State({}, position=0, shared={})

    def narrow(self, sentences: Tensor, shared: dict) -> tuple[Step, dict]:
        """See `Step.narrow`. What belongs to the encoder is held once a sentence, however many rows it has.

        Raises:
            UsageError: the decoder mixes the encoder's output into its own state.
        """
        if not self.rows_share:
            raise UsageError(
                f"{type(self.decoder).__name__} attends to words and outputs at once (--cross-self-attention), so "
                "roll-outs cannot share a sentence's encoder output; train it without"
            )
        faster = self._faster_step()
        if faster is not None:
            return faster.narrow(sentences, {})
        encoder_out = self.model.encoder.reorder_encoder_out(self.encoder_out, sentences)
        step = copy.copy(self)
        step.encoder_out = step._rows = encoder_out
        step.batch_size = len(sentences)
        return step, {key: t if t is None else t.index_select(0, sentences) for key, t in shared.items()}

    def teacher_forced_features(self, sentences: Tensor, tokens: Tensor) -> Tensor:
        """See `Step.teacher_forced_features`. The encoder is not run again: its output is repeated."""
        begin = tokens.new_full((len(tokens), 1), self.bos)
        inputs = torch.cat([begin, tokens[:, :-1]], dim=1)
        inputs = inputs.masked_fill(inputs < 0, self.decoder.dictionary.pad())
        rows = self.model.encoder.reorder_encoder_out(self.encoder_out, sentences)
        with torch.autocast(**self._autocast):
            return self.decoder.extract_features(inputs, encoder_out=rows)[0]

    @property
    def teacher_forced(self):
        """See `Step.teacher_forced`: of decoders whose states at all positions one pass can give."""
        if self.has_noise or self._autocast["enabled"] or not getattr(self.decoder, "has_all_states", False):
            return None
        return self._all_at_once

    def _all_at_once(self, tokens: Tensor) -> tuple[Tensor, list[State]]:
        features, hidden = self.decoder.all_states(tokens, self.encoder_out)  # (B, L, D), (B, L, D)
        name = f"{self.decoder._get_full_incremental_state_key('cached_state')}/prev_hiddens"
        states = [State({name: hidden[:, t : t + 1]}, t + 1, {}) for t in range(tokens.size(1))]
        return features, states

    @property
    def row_step(self) -> RowStep | None:
        """See `Step.row_step`."""
        return self._faster_step()

    def _faster_step(self):
        """The same step, of a decoder that can do it faster without gradient and dropout; None of any other."""
        half = torch.finfo(self.embedding.dtype).bits < 32 or (self._autocast["enabled"] and self._products is None)
        if torch.is_grad_enabled() or self.has_noise or half:
            return None
        if self._faster is None and hasattr(self.decoder, "gru_step"):
            products = self._products or self.embedding.dtype
            self._faster = self.decoder.gru_step(self.encoder_out, self.scores, self.output, products)
        return self._faster

    @property
    def has_noise(self) -> bool:
        """Whether any dropout is on."""
        return any(m.training and _dropout_of(m) > 0 for m in self.decoder.modules())

    @contextmanager
    def noise_free(self):
        """A context in which the decoder is in evaluation mode."""
        training = [module for module in self.decoder.modules() if module.training]
        self.decoder.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True

    def __call__(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        features, state = self.advance(inputs, state)
        return self.scores(features), state

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        tokens = torch.full((inputs.size(0), state.position + 1), self.bos, device=inputs.device)
        begun = state.position > 0 and self.rows_share
        rows = self.encoder_out if begun else self._rows
        cache = _to_cache(state)
        with (
            _soft_embedding(self.decoder.embed_tokens, inputs.to(self.embedding.dtype)),
            _shared_attention(self.decoder, len(inputs)),
            torch.autocast(**self._autocast),
        ):
            features = self.decoder.extract_features(tokens, encoder_out=rows, incremental_state=cache)[0]
        return features[:, -1], _to_state(cache, state.position + 1, self._static_keys())

    def scores(self, features: Tensor) -> Tensor:
        with torch.autocast(**self._autocast):
            logits = self.decoder.output_layer(features)
        return LOCAL_SCORES[self._local_scores](logits.to(torch.promote_types(logits.dtype, torch.float32)))

    @property
    def output(self) -> OutputLayer | None:
        """See `Step.output`: of decoders whose output layer is a plain linear one."""
        found = _linear_output(self.decoder)
        if found is None:
            return None
        weight, bias = found
        dtype = self._autocast["dtype"] if self._autocast["enabled"] else weight.dtype
        return OutputLayer(weight, bias, self._local_scores == "log-probs", dtype)

    @property
    def rounded_output(self) -> OutputLayer | None:
        """See `Step.rounded_output`."""
        return None if self._products is None else self.output

    def _static_keys(self) -> set[str]:
        """Keys of the attention over the encoder, whose cached keys and values never change."""
        layers = getattr(self.decoder, "layers", [])
        modules = [getattr(layer, "encoder_attn", None) for layer in layers]
        return {f"{m._incremental_state_id}.attn_state" for m in modules if m is not None}


def attends_to_shared_rows(decoder: nn.Module) -> bool:
    """Whether rows may share a sentence's encoder output: not where it is mixed into the decoder's own state."""
    return not any(getattr(layer, "cross_self_attention", False) for layer in getattr(decoder, "layers", []))


def _linear_output(decoder: nn.Module) -> tuple[Tensor, Tensor | None] | None:
    """Weight (V, D) and bias (V,) of an output layer that is a plain product; None of any other."""
    if isinstance(decoder, LSTMDecoder) and decoder.share_input_output_embed:
        return decoder.embed_tokens.weight, None
    layer = getattr(decoder, "output_projection" if isinstance(decoder, TransformerDecoderBase) else "fc_out", None)
    if type(layer) is not nn.Linear or layer._forward_hooks or layer._forward_pre_hooks:
        return None
    return layer.weight, layer.bias


def whole_precision(device: torch.device):
    """A context in which `--amp` does not round: for the search around the model's own steps."""
    return torch.autocast(device.type, enabled=False)


def _dropout_of(module: nn.Module) -> float:
    if isinstance(module, (FairseqDropout, nn.Dropout)):
        return module.p
    return module.dropout if isinstance(module, nn.RNNBase) else 0.0


@contextmanager
def _soft_embedding(embed_tokens: nn.Module, inputs: Tensor):
    """While open, `embed_tokens` returns `inputs` (N, E) as the embedding of one token a row."""
    handle = embed_tokens.register_forward_hook(lambda module, args, output: inputs.unsqueeze(1))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _shared_attention(decoder: nn.Module, rows: int):
    """While open, fairseq's LSTM decoder may have several rows for each sentence of its encoder output.

    The Transformer's attention can do that by itself, and the tagger's too.
    """
    attention = getattr(decoder, "attention", None)
    if not isinstance(attention, AttentionLayer):
        yield
        return

    def attend(states: Tensor, source: Tensor, padding: Tensor | None) -> tuple[Tensor, Tensor]:
        """As `AttentionLayer.forward`, for states (N, D), source (S, B, C), padding (S, B)."""
        if source.size(1) == rows:
            return type(attention).forward(attention, states, source, padding)
        query = attention.input_proj(states).view(source.size(1), -1, source.size(2))  # (B, K, C)
        scores = torch.bmm(query, source.permute(1, 2, 0)).float()  # (B, K, S)
        if padding is not None:
            scores = scores.masked_fill(padding.t().unsqueeze(1), float("-inf"))
        weights = torch.softmax(scores, dim=2).type_as(states)
        context = torch.bmm(weights, source.transpose(0, 1)).flatten(0, 1)  # (N, C)
        output = torch.tanh(attention.output_proj(torch.cat([context, states], dim=1)))
        return output, weights.flatten(0, 1).t()

    attention.forward = attend
    try:
        yield
    finally:
        del attention.forward


def _to_state(cache: dict, position: int, static_keys: set[str]) -> State:
    tensors, shared = {}, {}
    for module, entries in cache.items():
        for name, tensor in entries.items():
            if tensor is None or module in static_keys or name.endswith("padding_mask"):
                shared[module, name] = tensor
            else:
                tensors[f"{module}/{name}"] = tensor.transpose(0, 1) if name in _BATCH_SECOND else tensor
    return State(tensors, position, shared)


def _to_cache(state: State) -> dict:
    cache: dict = {}
    for (module, name), tensor in state.shared.items():
        cache.setdefault(module, {})[name] = tensor
    for key, tensor in state.tensors.items():
        module, name = key.split("/")
        tensor = tensor.transpose(0, 1).contiguous() if name in _BATCH_SECOND else tensor.contiguous()
        cache.setdefault(module, {})[name] = tensor
    return cache
