"""Decoding with maximum merging against flashlight-text's `LexiconDecoder`, where that is installed.

The two search the same space where every spelling ends in the silence unit: flashlight lets a hypothesis at the root
stay in the silence only, not in the last unit of a word. Scores of its KenLM are base-10 logarithms as ours are, so
weights are the same numbers. Its beam keeps apart histories that the n-gram need not tell apart, so narrow beams agree
where our states are whole histories as well; `EachHistory` below makes them so.

Of 480 searches drawn as here (no language model, bigram, trigram; K 10, 50, 1000; threshold 8 or none) 479 agree in
words and score, and in one no complete hypothesis is left, where flashlight gives an unfinished one. With the states of
the n-gram itself 474 agree, and with K 1000 all do.
"""

import math
import random

import pytest
import torch
from beam_decoder_oracle import write_arpa
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.arpa import read_arpa
from seqsearch_fairseq.algorithms.beam_decoder.decoding import decode
from seqsearch_fairseq.algorithms.beam_decoder.language_models import Advance, LanguageModel, NoLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.lexicon import Lexicon
from seqsearch_fairseq.algorithms.beam_decoder.ngrams import NgramLanguageModel
from seqsearch_fairseq.algorithms.beam_decoder.recurrent import LIMIT, Histories
from seqsearch_fairseq.algorithms.beam_decoder.scoring import Weights
from seqsearch_fairseq.algorithms.beam_decoder.search import Settings
from seqsearch_fairseq.algorithms.beam_decoder.topologies import ctc

flashlight = pytest.importorskip("flashlight.lib.text.decoder", reason="flashlight-text is not installed")
kenlm = pytest.importorskip(
    "flashlight.lib.text.flashlight_lib_text_decoder_kenlm", reason="flashlight-text is built without KenLM"
)
dictionary = pytest.importorskip("flashlight.lib.text.dictionary", reason="flashlight-text is not installed")

BLANK, SILENCE, UNITS = 0, 1, 7
WEIGHTS = Weights(lm=1.3, word=-0.7, silence=-0.2)


class EachHistory:
    """An n-gram whose states are whole histories."""

    start, state_limit, trainable = 0, LIMIT, False

    def __init__(self, model: LanguageModel):
        self.reading, self.histories, self.states = model.begin(), Histories(), {0: model.begin().start}

    def begin(self):
        return EachHistory(self.reading)

    def advance(self, states: Tensor, words: Tensor) -> Advance:
        found = self.reading.advance(self._inner(states), words)
        histories = self.histories.after(states, words)
        self.states.update(zip(histories.tolist(), found.states.tolist(), strict=True))
        return Advance(found.scores, histories)

    def scores(self, states: Tensor, words: Tensor) -> Tensor:
        return self.reading.scores(self._inner(states), words)

    def _inner(self, states: Tensor) -> Tensor:
        return torch.tensor([self.states[state] for state in states.tolist()], dtype=torch.long)


def lexicon_of(draw: random.Random, count: int, homophones: bool) -> list[tuple[str, list[int]]]:
    """Words of one to four units and the silence; some are spelled twice."""
    spellings: dict[tuple[int, ...], str] = {}
    while len(spellings) < count:
        units = (*(draw.randrange(2, UNITS) for _ in range(draw.randrange(1, 5))), SILENCE)
        spellings.setdefault(units, f"w{draw.randrange(count)}")
    pairs = [(word, list(units)) for units, word in spellings.items()]
    return [*pairs, ("like-the-first", pairs[0][1])] if homophones else pairs


def emissions_of(draw: random.Random, pairs: list[tuple[str, list[int]]]) -> Tensor:
    """Scores (1, T, U) of five words, peaked like those of a trained model, with noise."""
    said = [unit for _, units in draw.choices(pairs, k=5) for unit in units]
    frames = [frame for unit in said for frame in (unit, *[BLANK] * draw.randrange(1, 3))]
    noise = torch.randn(len(frames), UNITS, generator=torch.Generator().manual_seed(draw.randrange(1000)))
    return (2 * noise + 6 * torch.eye(UNITS)[frames]).log_softmax(1).unsqueeze(0)


def arpa_of(draw: random.Random, words: list[str], order: int) -> str:
    shorter = [("<unk>",), ("<s>",), ("</s>",), *((word,) for word in words)]
    ngrams = {ngram: (-99.0 if ngram == ("<s>",) else -draw.uniform(1, 3), -draw.uniform(0, 1)) for ngram in shorter}
    for _ in range(order - 1):
        begun = [ngram for ngram in shorter if ngram[-1] not in ("</s>", "<unk>")]
        longer = {(*draw.choice(begun), draw.choice([*words, "</s>"])) for _ in range(3 * len(words))}
        shorter = [ngram for ngram in longer if len(ngram) == 2 or ngram[1:] in ngrams]
        ngrams |= {ngram: (-draw.uniform(0.1, 2), -draw.uniform(0, 1)) for ngram in sorted(shorter)}
    return write_arpa({ngram: (p, 0.0 if len(ngram) == order else b) for ngram, (p, b) in ngrams.items()})


def theirs(emissions: Tensor, pairs, words: list[str], language_model, settings: Settings):
    """The words and the score of flashlight's best hypothesis for emissions (T, U)."""
    options = flashlight.LexiconDecoderOptions(
        beam_size=settings.beam_size,
        beam_size_token=UNITS,
        beam_threshold=settings.threshold,
        lm_weight=WEIGHTS.lm,
        word_score=WEIGHTS.word,
        unk_score=-math.inf,
        sil_score=WEIGHTS.silence,
        log_add=settings.merge == "log-add",
        criterion_type=flashlight.CriterionType.CTC,
    )
    trie = flashlight.Trie(UNITS, SILENCE)
    for word, units in pairs:
        trie.insert(units, words.index(word), 0.0)
    decoder = flashlight.LexiconDecoder(options, trie, language_model, SILENCE, BLANK, len(words), [], False)
    emissions = emissions.float().contiguous()
    best = decoder.decode(emissions.data_ptr(), *emissions.shape)[0]
    return [word for word in best.words if word >= 0], best.score


def compare(seed: int, order: int, settings: Settings, tmp_path, each_history: bool = False) -> bool:
    draw = random.Random(seed)
    pairs = lexicon_of(draw, 30, homophones=order > 0)
    lexicon = Lexicon.build(pairs)
    words = [str(word) for word in lexicon.words]
    ours: LanguageModel = NoLanguageModel()
    others = flashlight.ZeroLM()
    if order:
        file = tmp_path / "lm.arpa"
        file.write_text(arpa_of(draw, words, order))
        ours = NgramLanguageModel(read_arpa(file.read_text().splitlines(), "lm.arpa"), words)
        others = kenlm.KenLM(str(file), dictionary.Dictionary([*words, "<unk>"]))
    ours = EachHistory(ours) if each_history else ours
    emissions = emissions_of(draw, pairs)
    graph = ctc(lexicon, UNITS, BLANK, SILENCE)
    ((found,),) = decode(emissions, torch.tensor([emissions.size(1)]), graph, ours, WEIGHTS, settings)
    wanted, score = theirs(emissions[0], pairs, words, others, settings)
    return found.score == pytest.approx(score, abs=1e-3) and found.words == wanted


@pytest.mark.parametrize("order", [0, 2, 3])
def test_a_wide_beam_finds_the_same_words_and_score(order, tmp_path):
    for seed in range(4):
        assert compare(seed, order, Settings(1000, merge="max"), tmp_path), seed


@pytest.mark.parametrize("order", [0, 2, 3])
@pytest.mark.parametrize("settings", [Settings(10, merge="max"), Settings(50, 8.0, "max")])
def test_a_narrow_beam_finds_the_same_words_and_score(order, settings, tmp_path):
    for seed in range(4):
        assert compare(seed, order, settings, tmp_path, each_history=True), seed
