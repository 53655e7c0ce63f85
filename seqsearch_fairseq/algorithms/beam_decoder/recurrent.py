"""A recurrent language model: an LSTM over words, whose state is the whole history.

    h_i = LSTM(h_i-1, embedding of w_i),  w_0 the end of the sentence before;    P(w | w_1 .. w_i) = softmax(O h_i + b)

A search numbers the histories that it meets, so equal ones have one number and are merged. A history is read, with
those that are new in the same frame, when something is first asked of it: those that fall out of the beam never are.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from seqsearch_fairseq.algorithms.beam_decoder.alignments import PAD
from seqsearch_fairseq.algorithms.beam_decoder.language_models import END, Advance

EMPTY, LIMIT = 0, 1 << 24  # the history without words; how many there can be


class RecurrentLanguageModel(nn.Module):
    """An LSTM over words, and over one that stands for all others. A search has it in float32 or wider.

    Args:
        word_count: W, of the model. Number W is a word that it does not know, W + 1 the end of a sentence.
        embedding_dim, hidden_dim, layers: of the LSTM.
        dropout: of embeddings and outputs in `language_model_loss`; a search has none.
    """

    numbers: Tensor  # (L + 1,) the model's number of each word of the lexicon of a search, and of the end

    def __init__(self, word_count: int, embedding_dim: int, hidden_dim: int, layers: int = 1, dropout: float = 0.0):
        super().__init__()
        self.word_count = word_count
        self.end = word_count + 1
        self.dropout = dropout
        self.embedding = nn.Embedding(word_count + 2, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim, layers, batch_first=True)
        self.output = nn.Linear(hidden_dim, word_count + 2)
        self.over(range(word_count))

    def over(self, numbers: Iterable[int]) -> "RecurrentLanguageModel":
        """Let searches have a lexicon whose words have these numbers here; W for those that the model does not know."""
        found = torch.tensor([*numbers, self.end], device=self.output.weight.device)
        self.register_buffer("numbers", found, persistent=False)
        return self

    def begin(self) -> "RecurrentReading":
        return RecurrentReading(self)

    def read(self, words: Tensor, memories: Tensor) -> Tensor:
        """The memories (H, 2, layers, hidden_dim), hidden and cell, after one more word (H,) each."""
        hidden, cell = memories.permute(1, 2, 0, 3).contiguous()
        embedded = F.embedding(words, _wide(self.embedding.weight)).unsqueeze(1)
        weights = {name: _wide(parameter) for name, parameter in self.lstm.named_parameters()}
        _, after = functional_call(self.lstm, weights, (embedded, (hidden, cell)))
        return torch.stack(after).permute(2, 0, 1, 3)

    def first_memory(self) -> Tensor:
        """(1, 2, layers, hidden_dim): before the first word."""
        nothing = _wide(self.output.weight).new_zeros(1, 2, self.lstm.num_layers, self.lstm.hidden_size)
        return self.read(torch.tensor([self.end], device=nothing.device), nothing)

    def norms(self, memories: Tensor) -> Tensor:
        """(H,) log of the sum over all words."""
        return F.linear(memories[:, 0, -1], _wide(self.output.weight), _wide(self.output.bias)).logsumexp(dim=1)

    def scores(self, memories: Tensor, norms: Tensor, words: Tensor) -> Tensor:
        """Base-10 logarithms (M,) of the probabilities of words after M memories."""
        logits = (memories[:, 0, -1] * _wide(self.output.weight[words])).sum(dim=1) + _wide(self.output.bias[words])
        return (logits - norms) / math.log(10)


def _wide(tensor: Tensor) -> Tensor:
    """In float32, if it was in half precision."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def language_model_loss(model: RecurrentLanguageModel, words: Tensor) -> Tensor:
    """Cross entropy in nats of each sentence (B,), the end included: what the model is trained with beforehand.

    Args:
        words: (B, M) the model's numbers in [0, W]; PAD after a sentence's end.

    Raises:
        ValueError: `words` has the wrong shape or another number.
    """
    if words.dim() != 2:
        raise ValueError(f"`words` must be (B, M), got {tuple(words.shape)}")
    if words.numel() and not PAD <= int(words.min()) <= int(words.max()) <= model.word_count:
        raise ValueError(f"`words` must be in [0, {model.word_count}], or {PAD} after a sentence's end")
    lengths = (words != PAD).sum(dim=1)  # (B,)
    inputs = F.pad(words.masked_fill(words == PAD, model.end), (1, 0), value=model.end)
    targets = F.pad(words, (0, 1), value=PAD).scatter(1, lengths.unsqueeze(1), model.end)
    embedded = F.dropout(model.embedding(inputs), model.dropout, model.training)
    hidden = F.dropout(model.lstm(embedded)[0], model.dropout, model.training)
    logits = model.output(hidden).transpose(1, 2)  # (B, W + 2, M + 1)
    return F.cross_entropy(logits, targets, ignore_index=PAD, reduction="none").sum(dim=1)


class Histories:
    """The word sequences that a search has met, numbered as they come. Each is an earlier one and a word."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[int, int], int] = {}
        self.parents, self.words, self.lengths = [EMPTY], [END], [0]

    def after(self, histories: Tensor, words: Tensor) -> Tensor:
        """The numbers (M,) of M pairs (history, word).

        Raises:
            ValueError: there are too many.
        """
        found = []
        for pair in zip(histories.tolist(), words.tolist(), strict=True):
            number = self.numbers.get(pair)
            if number is None:
                number = self.numbers[pair] = len(self.parents)
                self.parents.append(pair[0])
                self.words.append(pair[1])
                self.lengths.append(self.lengths[pair[0]] + 1)
            found.append(number)
        if len(self.parents) > LIMIT:
            raise ValueError(f"a search must not meet more than {LIMIT} histories; a smaller beam meets fewer")
        return torch.tensor(found, dtype=torch.long, device=histories.device)

    def levels(self, histories: list[int]) -> list[list[int]]:
        """These histories and all that they begin with, those of length 0, of length 1, and so on."""
        levels: list[dict[int, None]] = [{} for _ in range(1 + max((self.lengths[h] for h in histories), default=0))]
        for history in histories:
            while history not in (level := levels[self.lengths[history]]):
                level[history] = None
                history = self.parents[history]
        levels[0][EMPTY] = None
        return [list(level) for level in levels]


class RecurrentReading:
    """A `Reading`: what the model says during one search, whose words get the model's own numbers here."""

    start, state_limit = EMPTY, LIMIT

    @torch.no_grad()
    def __init__(self, model: RecurrentLanguageModel):
        self.model, self.histories = model, Histories()
        memory = model.first_memory()
        self.rows = {EMPTY: 0}  # of each history that has been read
        self.memories, self.norms = memory, model.norms(memory)  # (R, 2, layers, hidden_dim), (R,); spare ones behind

    @property
    def trainable(self) -> bool:
        return any(parameter.requires_grad for parameter in self.model.parameters())

    @torch.no_grad()
    def advance(self, states: Tensor, words: Tensor) -> Advance:
        words = self.model.numbers[words]
        return Advance(self._look_up(states, words), self.histories.after(states, words))

    def scores(self, states: Tensor, words: Tensor) -> Tensor:
        words = self.model.numbers[words]  # END is the last one
        if not torch.is_grad_enabled():
            return self._look_up(states, words)
        distinct, places = states.unique(return_inverse=True)
        memories = self._read_again(distinct.tolist(), states.device)
        return self.model.scores(memories[places], self.model.norms(memories)[places], words)

    @torch.no_grad()
    def _look_up(self, states: Tensor, words: Tensor) -> Tensor:
        distinct, places = states.unique(return_inverse=True)
        numbers = distinct.tolist()
        self._read([number for number in numbers if number not in self.rows], states.device)
        rows = torch.tensor([self.rows[number] for number in numbers], dtype=torch.long, device=states.device)[places]
        return self.model.scores(self.memories[rows], self.norms[rows], words)

    def _read(self, new: list[int], device: torch.device) -> None:
        """Reads histories whose parents have been read, all at once."""
        if not new:
            return
        parents = torch.tensor([self.rows[self.histories.parents[number]] for number in new], device=device)
        words = torch.tensor([self.histories.words[number] for number in new], device=device)
        memories = self.model.read(words, self.memories[parents])
        begin, end = len(self.rows), len(self.rows) + len(new)
        if end > len(self.norms):
            self.memories = torch.cat([self.memories, self.memories.new_empty(end, *memories.shape[1:])])
            self.norms = torch.cat([self.norms, self.norms.new_empty(end)])
        self.memories[begin:end], self.norms[begin:end] = memories, self.model.norms(memories)
        self.rows.update(zip(new, range(begin, end), strict=True))

    def _read_again(self, histories: list[int], device: torch.device) -> Tensor:
        """The memories after these histories, with the gradient: once more from the first word, length by length."""
        levels = self.histories.levels(histories)
        places = {EMPTY: 0}
        latest = self.model.first_memory()
        memories, begin, count = [latest], 0, 1  # `latest` are those from `begin` on
        for level in levels[1:]:
            parents = torch.tensor([places[self.histories.parents[number]] - begin for number in level], device=device)
            words = torch.tensor([self.histories.words[number] for number in level], device=device)
            latest = self.model.read(words, latest[parents])
            memories.append(latest)
            begin, count = count, count + len(level)
            places.update(zip(level, range(begin, count), strict=True))
        wanted = torch.tensor([places[number] for number in histories], dtype=torch.long, device=device)
        return torch.cat(memories)[wanted]
