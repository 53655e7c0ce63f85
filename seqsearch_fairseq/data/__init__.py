"""Readers of tagging formats: columns of text in, parallel text out. Nothing here needs fairseq or torch."""
