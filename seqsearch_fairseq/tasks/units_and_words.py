"""The units and the words of `search_recognition`: what its lexicon and its dictionary say of them."""

import torch
from torch import Tensor

from seqsearch_fairseq.algorithms.beam_decoder.alignments import PAD
from seqsearch_fairseq.beam_decoder import DecoderFiles
from seqsearch_fairseq.data.files import FormatError
from seqsearch_fairseq.data.recognition.lexicon import Lexicon, read_lexicon
from seqsearch_fairseq.data.recognition.units import spelled, with_repetitions, without_repetitions, words_of
from seqsearch_fairseq.tasks import decoder_files
from seqsearch_fairseq.tasks import recognition_flags as flags
from seqsearch_fairseq.tasks.recognition_flags import ASG, CTC
from seqsearch_fairseq.tasks.unit_dictionary import UnitDictionary


class UnitsAndWords:
    """A part of the task. In CTC the blank is fairseq's start symbol, as in its audio tasks."""

    lexicon: Lexicon | None  # without the unit between words
    decoder_files: DecoderFiles | None  # of the lexicon, if there is one

    def read_words(self, cfg, dictionary: UnitDictionary) -> None:
        """Read what the flags name.

        Raises:
            UsageError: a file is not there, breaks its format, or does not go with the others.
        """
        self.dictionary = dictionary
        self.topology, self.repetitions = str(cfg.recognition_topology), cfg.recognition_repetitions
        self.silence = flags.silence(cfg, dictionary)
        self.units = frozenset(dictionary.symbols[dictionary.nspecial :])
        self.lexicon = self.decoder_files = None
        path, lm = (flags.existing_file(cfg, name) for name in ("recognition_lexicon", "recognition_lm"))
        lexicon = None if path is None else read_lexicon(path, self.units)
        if self.topology == ASG:
            flags.add_repetitions(dictionary, self.repetitions)
        else:
            self.blank_symbol = dictionary.bos_word  # fairseq's `ctc` asks for it
        if lexicon is not None:
            repetitions = self.repetitions if self.topology == ASG else None
            self.lexicon = lexicon.without(self.silence)
            self.decoder_files = decoder_files.build(lexicon, lm, dictionary, self.silence, repetitions)
            self._numbers = {word: number for number, word in enumerate(self.decoder_files.words)}

    @property
    def blank(self) -> int:
        """The number of the blank; -1 without one."""
        return self.dictionary.bos() if self.topology == CTC else -1

    def emitted_units(self) -> Tensor:
        """(U,) bool: what may stand at a frame; the blank, if there is one, and no other special symbol."""
        numbers = torch.arange(len(self.dictionary))
        return (numbers >= self.dictionary.nspecial) | (numbers == self.blank)

    def words_of(self, units: list[int]) -> list[str]:
        """The words that units spell. Of homophones the first of the lexicon; what is no word is joined as it is."""
        symbols = [self.dictionary[unit] for unit in self.written_out(units)]
        return words_of(symbols, self.silence, self.lexicon.word_of if self.lexicon else None).split()

    def units_of(self, words: list[str]) -> list[int]:
        """The units that the lexicon's first spelling of each word has, with the unit between words after it."""
        assert self.lexicon is not None  # the words are the lexicon's
        spellings = self.lexicon.of_word
        units = spelled(words, lambda word: spellings[word][0], self.silence)
        return [self.dictionary.index(unit) for unit in units]

    @property
    def has_language_model(self) -> bool:
        return self.decoder_files is not None and self.decoder_files.language_model is not None

    def word(self, number: int) -> str:
        """A word of the lexicon by its number in the beam decoder."""
        assert self.decoder_files is not None
        return self.decoder_files.words[number]

    def word_numbers(self, transcriptions: list[str]) -> Tensor:
        """(B, M) the reverse, of the words of a batch, with `PAD` after the last of each transcription."""
        numbers = [[self._numbers[word] for word in line.split()] for line in transcriptions]
        rows = [torch.tensor(row, dtype=torch.long) for row in numbers]
        return torch.nn.utils.rnn.pad_sequence(rows, True, PAD)

    def written_out(self, units: list[int]) -> list[int]:
        """The units without repetition symbols, so that they are the same in both topologies."""
        if self.topology == CTC:
            return units
        symbols = without_repetitions([self.dictionary[unit] for unit in units], self.repetitions)
        return [self.dictionary.index(symbol) for symbol in symbols]

    def gold(self, target: Tensor) -> list[int]:
        """The units of a padded target, written out."""
        return self.written_out(target[target.ne(self.dictionary.pad())].tolist())

    def encoded(self, line: str, where: str, strict: bool) -> Tensor:
        """(U,) the units of a line of a file of units.

        Raises:
            FormatError: a unit is not in the dictionary, if `strict`, or ASG cannot write the line.
        """
        units = line.split()
        unknown = next((unit for unit in units if unit not in self.units), None)
        if unknown is not None and strict:
            raise FormatError(f"{where}: the unit {unknown!r} is not in the dictionary of units")
        if self.topology == ASG:
            try:
                units = with_repetitions(units, self.repetitions)
            except ValueError as error:
                raise FormatError(f"{where}: {error}; --recognition-repetitions is `most`") from error
        return torch.tensor([self.dictionary.index(unit) for unit in units], dtype=torch.long)
