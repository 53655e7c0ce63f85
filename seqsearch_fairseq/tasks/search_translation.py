"""Translation that can be trained through a search: fairseq's `translation` with a choice of decoders."""

import json
from argparse import Namespace
from dataclasses import dataclass, field

import torch
from fairseq import utils
from fairseq.logging import metrics
from fairseq.tasks import register_task

from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.tasks.search_task import SearchTask, SearchTaskConfig

NOTHING = -1  # no token


@dataclass
class SearchTranslationConfig(SearchTaskConfig):
    eval_edit_distance: bool = field(
        default=False,
        metadata={
            "help": "validation decodes, as --decoder says, and logs edit_distance: Levenshtein distance of "
            "tokens, in per cent of the gold length"
        },
    )
    eval_edit_distance_args: str = field(
        default='{"beam": 1, "max_len_a": 1.5, "max_len_b": 10}',
        metadata={"help": "with --eval-edit-distance: generation flags, as JSON; --decoder greedy needs no beam"},
    )


@register_task("search_translation", dataclass=SearchTranslationConfig)
class SearchTranslationTask(SearchTask):
    """Stock translation; end of sentence is a token like any other, and T counts it."""

    def build_model(self, cfg, from_checkpoint=False):
        model = super().build_model(cfg, from_checkpoint)
        if self.cfg.eval_edit_distance:
            self._editing = self.build_generator([model], _generation_args(self.cfg.eval_edit_distance_args))
        return model

    def valid_step(self, sample, model, criterion):
        loss, sample_size, logging_output = super().valid_step(sample, model, criterion)
        if self.cfg.eval_edit_distance:
            edits, tokens = self._edits(sample, model)
            logging_output["_edits"], logging_output["_edit_tokens"] = edits, tokens
        return loss, sample_size, logging_output

    @torch.no_grad()
    def _edits(self, sample, model) -> tuple[int, int]:
        """Edits between the model's output and the gold sequences, without ends of sentence, and the gold's tokens."""
        from rapidfuzz.distance import Levenshtein

        found = self.inference_step(self._editing, [model], sample)
        eos, pad, unk = (getattr(self.target_dictionary, name)() for name in ("eos", "pad", "unk"))
        edits = tokens = 0
        for hypotheses, target in zip(found, sample["target"], strict=True):
            gold = [token for token in utils.strip_pad(target, pad).tolist() if token != eos]
            gold = [NOTHING if token == unk else token for token in gold]  # no output is an unknown word
            best = [token for token in hypotheses[0]["tokens"].tolist() if token != eos]
            edits, tokens = edits + Levenshtein.distance(gold, best), tokens + len(gold)
        return edits, tokens

    def reduce_metrics(self, logging_outputs, criterion):
        super().reduce_metrics(logging_outputs, criterion)
        tokens = int(sum(log.get("_edit_tokens", 0) for log in logging_outputs))
        if tokens > 0:
            edits = int(sum(log.get("_edits", 0) for log in logging_outputs))
            metrics.log_scalar("edit_distance", 100 * edits / tokens, tokens, round=2)


def _generation_args(text: str) -> Namespace:
    try:
        return Namespace(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise UsageError(f"--eval-edit-distance-args must be JSON, as in '{{\"beam\": 3}}', got {text!r}") from error
