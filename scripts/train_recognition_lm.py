"""Train a recurrent word language model for --recognition-lm: an LSTM over the words of a lexicon.

Reads what prepare_recognition.py wrote into DATA: lexicon.txt, train.wrd, and valid.wrd, whose perplexity is printed
after each epoch, a word and the end of a sentence counted alike; before them that of ngram.arpa. The model of the best
epoch becomes DATA/rnnlm.pt. Words that the lexicon does not have are one word to the model. Other files can be named.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seqsearch_fairseq.data.files import FormatError, read_lines
from seqsearch_fairseq.data.preparation import at_least_one, is_input, parsed, replaced_file, run
from seqsearch_fairseq.data.recognition.lexicon import read_lexicon
from seqsearch_fairseq.data.recognition.ngrams import UNKNOWN
from seqsearch_fairseq.programs import run_program


class Text(NamedTuple):
    """Sentences by the numbers of their words; the lexicon's size is the number of one that it does not have."""

    sentences: list[list[int]]
    words: int
    unknown: int

    def predictions(self) -> int:
        return self.words + len(self.sentences)

    def __str__(self) -> str:
        unknown = f", {self.unknown} of them not in the lexicon" if self.unknown else ""
        return f"{len(self.sentences)} sentences, {self.words} words{unknown}"


def main() -> int:
    args = parsed(build_parser(), {"--text": is_input})
    return run(lambda: train(args))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", type=Path, help="folder that prepare_recognition.py wrote")
    parser.add_argument("--output", metavar="FILE", type=Path, help="(default: DATA/rnnlm.pt)")
    texts = parser.add_argument_group("texts", "a sentence a line; empty lines are none")
    texts.add_argument("--lexicon", metavar="FILE", type=Path, help="(default: DATA/lexicon.txt)")
    texts.add_argument(
        "--text", metavar="FILE", action="append", type=Path, help="one or more to train on (default: DATA/train.wrd)"
    )
    texts.add_argument("--valid", metavar="FILE", type=Path, help="(default: DATA/valid.wrd)")
    texts.add_argument(
        "--arpa", metavar="FILE", type=Path, help="n-gram to compare with (default: DATA/ngram.arpa, if there is one)"
    )
    model = parser.add_argument_group("model")
    sizes = (("--embed-dim", 64, "of a word"), ("--hidden-size", 128, "of the LSTM"), ("--layers", 1, "of the LSTM"))
    for name, size, what in sizes:
        model.add_argument(name, type=at_least_one, default=size, metavar="N", help=f"{what} (default: %(default)s)")
    model.add_argument(
        "--dropout",
        type=share,
        default=0.5,
        metavar="X",
        help="of embeddings and of the LSTM's outputs; none in a search (default: %(default)s)",
    )
    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=at_least_one, default=20, metavar="N", help="(default: %(default)s)")
    training.add_argument(
        "--batch-size", type=at_least_one, default=16, metavar="N", help="sentences (default: %(default)s)"
    )
    training.add_argument(
        "--lr", type=positive, default=3e-3, metavar="X", help="learning rate, of Adam (default: %(default)s)"
    )
    training.add_argument(
        "--clip-norm", type=positive, default=5.0, metavar="X", help="of the gradient (default: %(default)s)"
    )
    training.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    training.add_argument("--cpu", action="store_true", help="do not use a GPU")
    return parser


def share(text: str) -> float:
    if not 0 <= float(text) < 1:
        raise argparse.ArgumentTypeError(f"must be in [0, 1), got {text}")
    return float(text)


def positive(text: str) -> float:
    if not 0 < float(text) < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text}")
    return float(text)


def train(args: argparse.Namespace) -> Iterator[str]:
    """Train and write; yield a line about each text and each epoch."""
    lexicon, texts = args.lexicon or args.data / "lexicon.txt", args.text or [args.data / "train.wrd"]
    valid_text, arpa = args.valid or args.data / "valid.wrd", args.arpa or args.data / "ngram.arpa"
    output = args.output or args.data / "rnnlm.pt"
    if output.resolve() in (path.resolve() for path in (lexicon, *texts, valid_text, arpa)):
        raise FormatError(f"--output {output} would replace an input")
    words = list(read_lexicon(lexicon).of_word)
    known = {word: number for number, word in enumerate(words)}
    trained, valid = numbered(texts, known), numbered([valid_text], known)
    with replaced_file(output) as out:
        yield f"lexicon: {len(words)} words"
        yield f"train: {trained}"
        yield f"valid: {valid}"
        if args.arpa or arpa.exists():
            yield f"{arpa.name}: perplexity {perplexity_of_ngram(arpa, words, valid):.2f}"
        model, best, least = build(args, len(words)), 0, math.inf
        state = {}
        for epoch, (loss, found) in enumerate(epochs(args, model, trained, valid), 1):
            yield f"epoch {epoch}: perplexity {found:.2f}, of the training text {loss:.2f} with dropout"
            if found < least:
                best, least = epoch, found
                state = {name: value.clone() for name, value in model.state_dict().items()}
        if not state:
            raise FormatError(f"the perplexity is no number after any epoch: --lr must be smaller, got {args.lr}")
        model.load_state_dict(state)
        write(out, model, words)
    yield f"{output}: epoch {best}, perplexity {least:.2f}"


def numbered(paths: list[Path], known: dict[str, int]) -> Text:
    """The sentences of texts.

    Raises:
        FormatError: there is none, or the lexicon has none of their words.
    """
    lines = [line.split() for path in paths for line in read_lines(path)]
    sentences = [[known.get(word, len(known)) for word in line] for line in lines if line]
    words = sum(map(len, sentences))
    unknown = sum(number == len(known) for sentence in sentences for number in sentence)
    names = ", ".join(map(str, paths))
    if not sentences:
        raise FormatError(f"{names} holds no sentence")
    if unknown == words:
        first = next(word for line in lines for word in line)
        raise FormatError(f"{names}: the lexicon has none of the words, not even {first!r}")
    return Text(sentences, words, unknown)


# ----------------------------------------------------------------------- torch is imported below, where it is needed


def build(args: argparse.Namespace, words: int):
    import torch

    from seqsearch_fairseq.algorithms.beam_decoder.recurrent import RecurrentLanguageModel

    torch.manual_seed(args.seed)
    model = RecurrentLanguageModel(words, args.embed_dim, args.hidden_size, args.layers, args.dropout)
    return model.to("cuda" if torch.cuda.is_available() and not args.cpu else "cpu")


def epochs(args: argparse.Namespace, model, trained: Text, valid: Text) -> Iterator[tuple[float, float]]:
    """Train; of each epoch the perplexity of the training text, while it was trained on, and of the validation text."""
    import torch

    from seqsearch_fairseq.algorithms.beam_decoder.recurrent import language_model_loss

    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    for _ in range(args.epochs):
        model.train()
        total = 0.0
        order = torch.randperm(len(trained.sentences)).tolist()
        for begin in range(0, len(order), args.batch_size):
            batch = [trained.sentences[i] for i in order[begin : begin + args.batch_size]]
            loss = language_model_loss(model, padded(batch, model)).sum()
            optimizer.zero_grad()
            (loss / sum(len(sentence) + 1 for sentence in batch)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip_norm)
            optimizer.step()
            total += float(loss.detach())
        yield perplexity(total, trained), perplexity(loss_of(model, valid), valid)


def loss_of(model, text: Text, batch_size: int = 64) -> float:
    """Cross entropy of a text in nats."""
    import torch

    from seqsearch_fairseq.algorithms.beam_decoder.recurrent import language_model_loss

    model.eval()
    sentences, total = sorted(text.sentences, key=len), 0.0
    with torch.no_grad():
        for begin in range(0, len(sentences), batch_size):
            batch = padded(sentences[begin : begin + batch_size], model)
            total += float(language_model_loss(model, batch).double().sum())
    return total


def padded(sentences: list[list[int]], model):
    import torch

    from seqsearch_fairseq.algorithms.beam_decoder.alignments import PAD

    rows = [torch.tensor(sentence, device=model.output.weight.device) for sentence in sentences]
    return torch.nn.utils.rnn.pad_sequence(rows, True, PAD)


def perplexity(loss: float, text: Text) -> float:
    mean = loss / text.predictions()
    return math.exp(mean) if mean < 700 else math.inf


def perplexity_of_ngram(path: Path, words: list[str], text: Text) -> float:
    import torch

    from seqsearch_fairseq.algorithms.beam_decoder.arpa import read_arpa
    from seqsearch_fairseq.algorithms.beam_decoder.language_models import END
    from seqsearch_fairseq.algorithms.beam_decoder.ngrams import NgramLanguageModel

    try:
        ngrams = NgramLanguageModel(read_arpa(read_lines(path), str(path)), [*words, *[UNKNOWN] * bool(text.unknown)])
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(str(error)) from error
    total = 0.0
    for sentence in text.sentences:
        state = torch.tensor([ngrams.start])
        for word in sentence:
            advance = ngrams.advance(state, torch.tensor([word]))
            total, state = total - float(advance.scores), advance.states
        total -= float(ngrams.scores(state, torch.tensor([END])))
    return perplexity(total * math.log(10), text)


def write(out, model, words: list[str]) -> None:
    from seqsearch_fairseq.algorithms.beam_decoder.recurrent_files import write_recurrent

    write_recurrent(out, model, words)


if __name__ == "__main__":
    run_program(main)
