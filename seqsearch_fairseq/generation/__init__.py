"""Decoders for fairseq-generate and fairseq-interactive."""
