"""Pieces of words: sentencepiece's byte-pair encoding, learned from the training text."""

from collections.abc import Iterable
from pathlib import Path

import sentencepiece

from seqsearch_fairseq.data.files import FormatError


def learn_pieces(
    sentences: Iterable[str], folder: Path, size: int, option: str
) -> sentencepiece.SentencePieceProcessor:
    """Learn `size` pieces and write them to `folder`/spm.{model,vocab}.

    Args:
        sentences: the training text, read once.
        folder: where to write.
        size: number of pieces.
        option: the flag that says `size`, for the message.

    Raises:
        FormatError: a number of pieces that the text cannot fill, or that does not hold its characters.
    """
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_prefix=str(folder / "spm"),
            model_type="bpe",
            vocab_size=size,
            character_coverage=1.0,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise FormatError(f"{option} {size} does not fit the text: {error}") from error
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
