"""fairseq-hydra-train with our task, model and criterion, set on the command line or in a file."""

import re
from pathlib import Path

import commands
import forked
import pytest
from commands import PLUGIN, SMALL

CONFIG = """\
# @package _global_
common: {{user_dir: {plugin}, cpu: true, log_format: json, no_progress_bar: true}}
task: {{_name: search_tagging, data: {data}}}
model: {{_name: tagger_gru, encoder_embed_dim: 8}}
criterion: {{_name: soft_beam_direct, soft_beam_alpha: 2.0, soft_beam_top_k: successive}}
optimizer: {{_name: adam}}
lr_scheduler: {{_name: fixed}}
dataset: {{batch_size: 24, train_subset: {small}, num_workers: 0}}
optimization: {{max_epoch: 1, lr: [0.01]}}
checkpoint: {{save_dir: {save_dir}, no_epoch_checkpoints: true}}
"""


def from_command_line(folder, data):
    return [
        f"common.user_dir={PLUGIN}",
        *("common.cpu=true", "common.log_format=json", "common.no_progress_bar=true"),
        *("+task._name=search_tagging", f"+task.data={data}"),
        *("+model._name=tagger_gru", "+model.encoder_embed_dim=8"),
        *("criterion._name=soft_beam_direct", "+criterion.soft_beam_alpha=2.0"),
        *("+optimizer._name=adam", "optimization.lr=[0.01]", "optimization.max_epoch=1"),
        *("dataset.batch_size=24", f"dataset.train_subset={SMALL}", "dataset.num_workers=0"),
        *(f"checkpoint.save_dir={folder / 'model'}", "checkpoint.no_epoch_checkpoints=true"),
    ]


def from_file(folder, data):
    text = CONFIG.format(plugin=PLUGIN, data=data, small=SMALL, save_dir=folder / "model")
    (folder / "search.yaml").write_text(text)
    return ["--config-dir", str(folder), "--config-name", "search"]


def printed(folder: Path, *arguments: str) -> str:
    """What fairseq-hydra-train prints with these arguments in that folder."""
    status, out, err = commands.finish(forked.command("hydra_train", *arguments, cwd=folder))
    assert status == 0, err
    return out


@pytest.mark.parametrize("arguments", [from_command_line, from_file])
def test_hydra_trains_with_the_criterion(tagging, tmp_path, arguments):
    out = printed(tmp_path, *arguments(tmp_path, tagging.data))
    assert re.search(r'"train_alpha": "2"', out)
    assert (tmp_path / "model" / "checkpoint_last.pt").exists()


def test_hydra_trains_with_scheduled_sampling(tagging, tmp_path):
    arguments = from_command_line(tmp_path, tagging.data)
    replaced = [*(a for a in arguments if "criterion" not in a), "criterion._name=differentiable_scheduled_sampling"]
    chosen = ["+criterion.dss_decay=always", "+criterion.dss_alpha=3", "+criterion.dss_feedback=soft-sample"]
    out = printed(tmp_path, *replaced, *chosen)
    assert re.search(r'"train_gold_probability": "0"', out)


def test_hydra_trains_with_searnn(tagging, tmp_path):
    arguments = from_command_line(tmp_path, tagging.data)
    replaced = [*(a for a in arguments if "criterion" not in a), "criterion._name=searnn"]
    chosen = ["+criterion.searnn_loss=kl", "+criterion.searnn_sampling='policy=2,neighbors=1'"]
    out = printed(tmp_path, *replaced, *chosen)
    assert re.search(r'"train_best_cost": "[0-9.]+"', out)


def test_hydra_trains_with_a_growing_beam(tagging, tmp_path):
    arguments = from_command_line(tmp_path, tagging.data)
    replaced = [*(a for a in arguments if "criterion" not in a), "criterion._name=beam_search_optimization"]
    chosen = ["+criterion.beam_training_size=4", "+criterion.beam_search_optimization_start_size=2"]
    out = printed(tmp_path, *replaced, *chosen)
    assert re.search(r'"train_beam_size": "2"', out)
