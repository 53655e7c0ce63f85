"""`--amp`: the model's steps run in half precision, the search around them does not."""

import pytest
import torch
from glue import make_criterion

from seqsearch_fairseq.algorithms import step as step_module

CRITERIONS = [("soft_beam_direct", {}), ("differentiable_scheduled_sampling", {"dss_decay": "always"})]


@pytest.mark.parametrize("criterion,flags", CRITERIONS)
@pytest.mark.parametrize("arch", ["lstm", "transformer", "tagger_lstm"])
def test_the_search_is_in_float32(loaded, monkeypatch, arch, criterion, flags):
    model = loaded(arch)
    whole = make_criterion(criterion, model.task, **flags)(model.model, model.batch())[0]
    seen, mix = set(), step_module._mix_rows

    def spy(weights, rows):
        seen.add((torch.is_autocast_enabled("cpu"), rows.dtype))
        return mix(weights, rows)

    monkeypatch.setattr(step_module, "_mix_rows", spy)
    linear = []
    hook = model.model.decoder.register_forward_hook(lambda *_: linear.append(torch.is_autocast_enabled("cpu")))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = make_criterion(criterion, model.task, **flags)(model.model, model.batch())[0]
    hook.remove()
    assert loss.dtype == torch.float32 and all(linear)
    assert not any(enabled for enabled, _ in seen)
    torch.testing.assert_close(loss, whole, rtol=0.05, atol=0.5)
    loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.model.parameters() if p.grad is not None)
