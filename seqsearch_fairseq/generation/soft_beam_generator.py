"""What fairseq-generate and fairseq-interactive call with `--decoder soft-beam`."""

import sys

import torch
from torch import nn

from seqsearch_fairseq.adapters import FairseqStep, check_decoder, encode
from seqsearch_fairseq.algorithms.soft_decoding import DecodeOptions, soft_decode
from seqsearch_fairseq.errors import UsageError

# Generation options of fairseq's beam search that the relaxed beam has no counterpart for, and their neutral values.
UNSUPPORTED = {
    "sampling": False,
    "diverse_beam_groups": -1,
    "diversity_rate": -1.0,
    "constraints": None,
    "no_repeat_ngram_size": 0,
    "match_source_len": False,
    "print_alignment": None,
    "unkpen": 0,
    "temperature": 1.0,
    "lm_path": None,
}


class _SoftStep(FairseqStep):
    """Never in place of itself the faster step of some decoders, which reads tokens and no embeddings."""

    def _faster_step(self):
        return None


class SoftBeamGenerator(nn.Module):
    """Decodes with the relaxed beam, and answers in the form of fairseq's `SequenceGenerator`.

    Args:
        model: the only model.
        task: one of our tasks; it says which tokens are candidates, and which local scores are added up.
        beam_size, alpha: width and peakedness of the relaxed beam.
        max_len_a, max_len_b, min_len: a hypothesis has at most `max_len_a * source length + max_len_b` tokens and at
            least `min_len`, the end of sentence not counted.
        length_penalty, normalise: as --lenpen and --unnormalized.
        one_label_a_word: the output has exactly the source's length.
    """

    candidates: torch.Tensor

    def __init__(
        self, model, task, beam_size, alpha, max_len_a=0.0, max_len_b=200, min_len=1, length_penalty=1.0, normalise=True
    ):
        super().__init__()
        check_decoder(model.decoder)
        model.eval()  # returns nothing once fairseq has made the model fast for generation
        self.model = model
        self.task = task
        self.pad = task.target_dictionary.pad()
        self.eos = task.target_dictionary.eos()
        self.register_buffer("candidates", task.search_candidates(), persistent=False)
        count = int(self.candidates.sum())
        if not 1 <= beam_size <= count:
            raise UsageError(f"--beam must be in [1, {count}], the number of candidate tokens, got {beam_size}")
        self.beam_size, self.alpha = beam_size, alpha
        self.max_len_a, self.max_len_b, self.min_len = max_len_a, max_len_b, min_len
        self.length_penalty, self.normalise = length_penalty, normalise
        self.one_label_a_word = task.one_label_a_word
        self.symbols_to_strip_from_output = {self.eos}

    @classmethod
    def from_args(cls, models, task, args, alpha: float, extra: dict | None = None) -> "SoftBeamGenerator":
        """Build from fairseq's generation options.

        Raises:
            UsageError: an ensemble, or an option that the relaxed beam has no counterpart for.
        """
        if len(models) != 1:
            raise UsageError(
                f"--decoder soft-beam blends the states of one model, got an ensemble of {len(models)}; "
                "give one --path, or use --decoder beam"
            )
        for name, neutral in UNSUPPORTED.items():
            value = getattr(args, name, neutral)
            if value not in (neutral, None):
                raise UsageError(
                    f"--decoder soft-beam does not support --{name.replace('_', '-')} (got {value}); "
                    "leave it out, or use --decoder beam"
                )
        if (extra or {}).get("lm_model") is not None:
            raise UsageError("--decoder soft-beam does not support --lm-path; leave it out, or use --decoder beam")
        return cls(
            models[0],
            task,
            beam_size=getattr(args, "beam", 5),
            alpha=alpha,
            max_len_a=getattr(args, "max_len_a", 0),
            max_len_b=getattr(args, "max_len_b", 200),
            min_len=getattr(args, "min_len", 1),
            length_penalty=getattr(args, "lenpen", 1),
            normalise=not getattr(args, "unnormalized", False),
        )

    @torch.no_grad()
    def generate(self, models, sample, prefix_tokens=None, constraints=None, bos_token=None):
        """The finished hypotheses of each sentence, best first, as `SequenceGenerator.generate` returns them."""
        if constraints is not None:
            raise UsageError("--decoder soft-beam does not support --constraints; use --decoder beam")
        net_input = sample["net_input"]
        words = net_input["src_tokens"]
        step = _SoftStep(self.model, encode(self.model, net_input), len(words), self.task.decode_scores)
        options = DecodeOptions(
            beam_size=self.beam_size,
            alpha=self.alpha,
            candidates=self.candidates.to(words.device),
            eos=self.eos,
            max_length=self._max_length(words.size(1)),
            min_length=self.min_len,
            length_penalty=self.length_penalty,
            normalise=self.normalise,
            lengths=net_input["src_lengths"] if self.one_label_a_word else None,
        )
        if prefix_tokens is not None:
            prefix_tokens = prefix_tokens.masked_fill(prefix_tokens == self.pad, -1)
        return [
            [self._as_fairseq(hypothesis) for hypothesis in found]
            for found in soft_decode(step, options, prefix_tokens)
        ]

    def _max_length(self, source_length: int) -> int:
        if self.one_label_a_word:
            return source_length
        limit = min(self.model.max_decoder_positions(), sys.maxsize) - 1
        longest = min(int(self.max_len_a * source_length + self.max_len_b), limit)
        if longest < self.min_len:
            raise UsageError(f"--min-len must be at most the maximum length, {longest} here, got {self.min_len}")
        return longest

    @staticmethod
    def _as_fairseq(hypothesis):
        return {
            "tokens": hypothesis.tokens,
            "score": torch.tensor(hypothesis.score),
            "attention": None,
            "alignment": torch.empty(0),
            "positional_scores": hypothesis.positional_scores,
        }
