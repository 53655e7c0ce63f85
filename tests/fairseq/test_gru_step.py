"""The faster step of GRU decoders is the plain one: features and states, however the work is cut."""

import pytest
import torch
from fairseq_models import attention_gru, random_targets, source, tagger

from seqsearch_fairseq.adapters import FairseqStep
from seqsearch_fairseq.models import gru_gates
from seqsearch_fairseq.models.gru_step import GRUStep

WIDTH = 5
MODELS = {"tagger": lambda: tagger(cell="gru"), "attention_gru": attention_gru}


@pytest.fixture(params=MODELS)
def started(request):
    """A model, its plain step, and a state after two steps with a row a sentence."""
    model = MODELS[request.param]()
    src = source(model)
    with torch.no_grad():
        step = FairseqStep(model, model.encoder(**src._asdict()), len(src.src_tokens))
        state = step.start(1)
        for tokens in random_targets(model, step.batch_size, 2).unbind(dim=1):
            _, state = step.advance(step.inputs_of(tokens), state)
    return model, step, state


@pytest.mark.parametrize("table,block", [(1024, 1024), (0, 1024), (1024, 1), (0, 7)])
def test_steps_agree(started, monkeypatch, table, block):
    monkeypatch.setattr(gru_gates, "TABLE", table)
    monkeypatch.setattr(gru_gates, "BLOCK", block)
    model, step, state = started
    tokens = random_targets(model, step.batch_size * WIDTH, 2, seed=4)
    rows = torch.arange(step.batch_size).repeat_interleave(WIDTH)
    with torch.no_grad():
        faster, shared = step.narrow(torch.arange(step.batch_size), state.shared)
        assert isinstance(faster, GRUStep)
        wide = state.reorder(rows)
        begin = wide._replace(shared=shared)
        monkeypatch.setattr(step, "_rows", step.model.encoder.reorder_encoder_out(step.encoder_out, rows))
        for column in tokens.unbind(dim=1):
            expected, wide = step.advance(step.inputs_of(column), wide)
            found, begin = faster.advance(faster.inputs_of(column), begin)
            torch.testing.assert_close(found, expected)
            assert begin.position == wide.position
            for name, tensor in wide.tensors.items():
                torch.testing.assert_close(begin.tensors[name], tensor)


@pytest.mark.parametrize("count", [1, 3, 11])
def test_rows_of_a_sentence_may_have_one_state(started, count):
    """Any number of rows, that of the sentences too; not all sentences have one."""
    model, step, state = started
    draws = torch.Generator().manual_seed(count)
    sentence = torch.randint(step.batch_size, (count,), generator=draws).sort().values
    tokens = random_targets(model, count, 1, seed=4)[:, 0]
    with torch.no_grad():
        faster = step.row_step
        states = faster.states_of(state)
        expected = faster.rows(sentence).advance(tokens, states[sentence], state.position)
        found = faster.rows(sentence).advance(tokens, states, state.position, one_state=True)
    torch.testing.assert_close(found, expected)


def test_what_a_step_returned_stays_as_it_was(started):
    """The buffers that are used again are not what is returned."""
    model, step, state = started
    with torch.no_grad():
        faster, shared = step.narrow(torch.arange(step.batch_size), state.shared)
        tokens = random_targets(model, step.batch_size, 2, seed=4)
        features, after = faster.advance(faster.inputs_of(tokens[:, 0]), state._replace(shared=shared))
        kept = features.clone(), next(iter(after.tensors.values())).clone()
        faster.advance(faster.inputs_of(tokens[:, 1]), after)
    torch.testing.assert_close(features, kept[0], rtol=0, atol=0)
    torch.testing.assert_close(next(iter(after.tensors.values())), kept[1], rtol=0, atol=0)


def test_a_gradient_or_dropout_takes_the_plain_way(started):
    model, step, state = started
    assert not isinstance(step.narrow(torch.tensor([0]), state.shared)[0], GRUStep)
    model.train()
    model.decoder.dropout.p = 0.1
    with torch.no_grad():
        assert not isinstance(step.narrow(torch.tensor([0]), state.shared)[0], GRUStep)
        with step.noise_free():
            assert isinstance(step.narrow(torch.tensor([0]), state.shared)[0], GRUStep)


def test_all_positions_at_once_are_the_steps(started):
    model, step, _ = started
    tokens = torch.cat([torch.full((step.batch_size, 1), step.bos), random_targets(model, step.batch_size, 1)], dim=1)
    features, states = step.teacher_forced(tokens)
    state = step.start(1)
    for t, column in enumerate(tokens.unbind(dim=1)):
        expected, state = step.advance(step.inputs_of(column), state)
        torch.testing.assert_close(features[:, t], expected)
        assert states[t].position == state.position and states[t].tensors.keys() == state.tensors.keys()
        for name, tensor in state.tensors.items():
            torch.testing.assert_close(states[t].tensors[name], tensor)
    model.train()
    model.decoder.dropout.p = 0.1
    assert step.teacher_forced is None
