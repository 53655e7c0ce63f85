"""Translation that can be trained through a search: fairseq's `translation` with a choice of decoders."""

from argparse import Namespace
from dataclasses import dataclass, field

import torch
from fairseq import utils
from fairseq.logging import metrics
from fairseq.tasks import register_task

from seqsearch_fairseq.errors import UsageError
from seqsearch_fairseq.tasks.search_task import SearchTask, SearchTaskConfig


@dataclass
class SearchTranslationConfig(SearchTaskConfig):
    eval_edit_distance: bool = field(
        default=False,
        metadata={
            "help": "validation decodes, as --decoder says, and logs edit_distance: of tokens, in per cent of the gold "
            "length"
        },
    )
    eval_edit_distance_beam: int = field(
        default=1, metadata={"help": "with --eval-edit-distance: the beam's width; 1 is greedy search"}
    )


@register_task("search_translation", dataclass=SearchTranslationConfig)
class SearchTranslationTask(SearchTask):
    """Stock translation; end of sentence is a token like any other, and T counts it."""

    @classmethod
    def setup_task(cls, cfg, **kwargs):
        if cfg.eval_edit_distance_beam < 1:
            raise UsageError(f"--eval-edit-distance-beam must be at least 1, got {cfg.eval_edit_distance_beam}")
        return super().setup_task(cfg, **kwargs)

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

        generator = self.build_generator([model], Namespace(beam=self.cfg.eval_edit_distance_beam))
        found = self.inference_step(generator, [model], sample)
        eos, pad = self.target_dictionary.eos(), self.target_dictionary.pad()
        edits = tokens = 0
        for hypotheses, target in zip(found, sample["target"], strict=True):
            gold = [token for token in utils.strip_pad(target, pad).tolist() if token != eos]
            best = [token for token in hypotheses[0]["tokens"].tolist() if token != eos]
            edits, tokens = edits + Levenshtein.distance(gold, best), tokens + len(gold)
        return edits, tokens

    def reduce_metrics(self, logging_outputs, criterion):
        super().reduce_metrics(logging_outputs, criterion)
        tokens = int(sum(log.get("_edit_tokens", 0) for log in logging_outputs))
        if tokens > 0:
            edits = int(sum(log.get("_edits", 0) for log in logging_outputs))
            metrics.log_scalar("edit_distance", 100 * edits / tokens, tokens, round=2)
