"""OCDHead with an assistant: a bigger head of its kind teaches a downsized one."""

import copy

import pytest
import torch

from ..helpers.models import build, images, total
from ..helpers.ocd import GAU, HEADS, ocd_of, samples

SMALL = {
    'simcc': (HEADS['simcc'], HEADS['rtmcc']['head']),
    'rtmcc': (
        dict(head={**HEADS['rtmcc']['head'], 'gau_cfg': {**GAU, 'hidden_dims': 8}}),
        HEADS['rtmcc']['head'],
    ),
    'regression': (HEADS['regression'], HEADS['regression']['head']),
    'rle': (HEADS['rle'], HEADS['rle']['head']),
    'regression by integral': (dict(HEADS['regression'], neck=None), HEADS['integral']['head']),
}


@pytest.mark.parametrize('kind', ['simcc', 'rtmcc', 'regression', 'rle'])
def test_a_bigger_head_learns_the_task_and_teaches_the_small_one(kind):
    small, big = SMALL[kind]
    config = ocd_of(kind, assistant=big)
    config['head']['deploy'] = copy.deepcopy(small)
    ocd = build(config)
    losses = ocd.loss(images(2), samples(kind))
    assert float(losses['loss_assistant']) != 0 and float(losses['loss_from_assistant']) > 0
    losses['loss_from_assistant'].backward(retain_graph=True)
    assert all(p.grad is None for p in ocd.head.assistant.parameters())
    assert (
        sum(float(p.grad.abs().sum()) for p in ocd.head.deploy.parameters() if p.grad is not None)
        > 0
    )
    total(losses).backward()
    assert all(p.grad is not None for p in ocd.parameters() if p.requires_grad)


@pytest.mark.parametrize('kind', ['simcc', 'regression'])
def test_nothing_is_taught_where_both_heads_agree(kind):
    ocd = build(ocd_of(kind, assistant=HEADS[kind]['head']))
    ocd.head.assistant.load_state_dict(ocd.head.deploy['head'].state_dict())
    losses = ocd.loss(images(2), samples(kind))
    assert float(losses['loss_from_assistant']) == pytest.approx(0, abs=1e-7)
    assert torch.allclose(losses['loss_assistant'], losses['loss_kpt'])
