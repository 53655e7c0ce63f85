"""The papers' sizes of fairseq's own translation models."""

from fairseq.models import register_model_architecture
from fairseq.models.lstm import base_architecture


@register_model_architecture("lstm", "iwslt_goyal2017")
def iwslt_goyal2017(args):
    """One bidirectional LSTM layer against one LSTM layer with attention and input feeding, 256 units throughout."""
    args.encoder_embed_dim = getattr(args, "encoder_embed_dim", 256)
    args.encoder_hidden_size = getattr(args, "encoder_hidden_size", 256)
    args.encoder_bidirectional = getattr(args, "encoder_bidirectional", True)
    args.decoder_embed_dim = getattr(args, "decoder_embed_dim", 256)
    args.decoder_hidden_size = getattr(args, "decoder_hidden_size", 256)
    args.decoder_out_embed_dim = getattr(args, "decoder_out_embed_dim", 256)
    base_architecture(args)


ARCHS = ("iwslt_goyal2017",)
