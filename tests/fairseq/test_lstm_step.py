"""The written-out LSTM step of a tagger: values and gradients of `nn.LSTM`."""

import pytest
import torch
from fairseq_models import tagger
from torch import nn

from seqsearch_fairseq.models.lstm_step import LSTMStep

B, BEAMS, STEPS, LABEL, MEMORY, SIZE = 2, 3, 4, 3, 5, 6


@pytest.mark.parametrize("read", ["outputs", "cells", "both"])
def test_it_is_the_networks_own_step_forward_and_backward(read):
    torch.manual_seed(1)
    rnn = nn.LSTM(LABEL + MEMORY, SIZE, batch_first=True).double()
    labels = torch.randn(B * BEAMS, STEPS, LABEL, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(B, STEPS, MEMORY, dtype=torch.float64, requires_grad=True)

    def written_out():
        step, state, outputs = LSTMStep(rnn, LABEL), None, []
        gates = step.gates_of(memory).unbind(dim=1)
        for t in range(STEPS):
            state = step(labels[:, t], gates[t], state)
            outputs.append(state[0])
        return torch.stack(outputs, dim=1), state[1]

    def its_own():
        outputs, (_, cells) = rnn(torch.cat([labels, memory.repeat_interleave(BEAMS, dim=0)], dim=2))
        return outputs, cells.squeeze(0)

    weights = torch.randn(B * BEAMS, STEPS, SIZE, dtype=torch.float64)
    results = []
    for outputs, cells in (written_out(), its_own()):
        loss = torch.zeros((), dtype=torch.float64)
        if read != "cells":
            loss = loss + (outputs * weights).sum()
        if read != "outputs":
            loss = loss + (cells * weights[:, 0]).sum()
        results.append((outputs, cells, *torch.autograd.grad(loss, [labels, memory, *rnn.parameters()])))
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-12)


def test_gradcheck():
    rnn = nn.LSTM(LABEL + MEMORY, 2, batch_first=True).double()

    def step(labels, memory, hidden, cells):
        made = LSTMStep(rnn, LABEL)
        return made(labels, made.gates_of(memory).squeeze(1), (hidden, cells))

    shapes = (4, LABEL), (2, 1, MEMORY), (4, 2), (4, 2)
    assert torch.autograd.gradcheck(step, [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes])


def test_it_fits_one_layer_of_an_lstm_in_a_type_that_does_not_round():
    assert LSTMStep.fits(nn.LSTM(2, 2))
    assert not LSTMStep.fits(nn.GRU(2, 2))
    assert not LSTMStep.fits(nn.LSTM(2, 2, num_layers=2))
    assert not LSTMStep.fits(nn.LSTM(2, 2).bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not LSTMStep.fits(nn.LSTM(2, 2))


def test_a_tagger_that_is_prepared_keeps_its_encoders_output_and_can_be_reordered():
    model = tagger()
    encoder_out = {"encoder_out": [torch.randn(3, 4, model.encoder.output_size, dtype=torch.float64)]}
    prepared = model.decoder.prepared(encoder_out)
    assert set(prepared) == {"encoder_out", "gates", "step"}
    order = torch.tensor([2, 0])
    some = model.encoder.reorder_encoder_out(prepared, order)
    torch.testing.assert_close(some["gates"][1], prepared["gates"][1][order])
    assert some["step"] is prepared["step"]
