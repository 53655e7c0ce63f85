"""`--amp`: the model's steps run in half precision, the search around them does not."""

import pytest
import torch
from glue import make_criterion

from seqsearch_fairseq.algorithms import scheduled_sampling as scheduled_sampling_module
from seqsearch_fairseq.algorithms import step as step_module
from seqsearch_fairseq.algorithms.beam_training import global_likelihood as likelihood_module
from seqsearch_fairseq.algorithms.beam_training import minimum_risk as risk_module
from seqsearch_fairseq.algorithms.searnn import algorithm as searnn_module

CRITERIONS = [("soft_beam_direct", {}), ("differentiable_scheduled_sampling", {"dss_decay": "always"})]
CRITERIONS += [("searnn", {"searnn_roll_in": "reference", "searnn_roll_out": "reference"})]
CRITERIONS += [("global_likelihood", {"beam_training_scores": "log-probs"}), ("minimum_risk", {})]


@pytest.mark.parametrize("criterion,flags", CRITERIONS)
@pytest.mark.parametrize("arch", ["lstm", "transformer", "tagger_lstm"])
def test_the_search_is_in_float32(loaded, monkeypatch, arch, criterion, flags):
    model = loaded(arch)
    whole = make_criterion(criterion, model.task, **flags)(model.model, model.batch())[0]
    seen = []
    for module, name in (
        (step_module, "_mix_rows"),
        (scheduled_sampling_module, "emit"),
        (searnn_module, "searnn_loss"),
        (likelihood_module, "masked_logsumexp"),
        (risk_module, "masked_softmax"),
    ):
        whole_function = getattr(module, name)

        def spy(*arguments, whole_function=whole_function):
            seen.append(torch.is_autocast_enabled("cpu"))
            return whole_function(*arguments)

        monkeypatch.setattr(module, name, spy)
    linear = []
    embed_tokens = model.model.decoder.embed_tokens  # whose hook runs at every step
    hook = embed_tokens.register_forward_hook(lambda *_: linear.append(torch.is_autocast_enabled("cpu")))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = make_criterion(criterion, model.task, **flags)(model.model, model.batch())[0]
    hook.remove()
    assert loss.dtype == torch.float32 and len(linear) > 1 and all(linear)
    assert seen and not any(seen)
    torch.testing.assert_close(loss, whole, rtol=0.05, atol=0.5)
    loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.model.parameters() if p.grad is not None)
