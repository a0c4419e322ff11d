"""The guides that a run has made of its student."""

import copy

import pytest
import torch

from mmpose_kd.distiller.teacher import Teacher
from mmpose_kd.dskd import guides
from mmpose_kd.dskd.guides import GuideBank, check_fit

from ..helpers.models import build, plain_config, randomize
from ..helpers.ocd import ocd_of


def test_a_guide_is_a_copy_with_the_weights_of_the_first_process(monkeypatch):
    """What the first process sends must not reach the student of this one."""
    student = randomize(build(plain_config())).state_dict()
    before = copy.deepcopy(student)
    monkeypatch.setattr(guides, 'get_world_size', lambda: 2)
    monkeypatch.setattr(guides, 'broadcast', lambda value: value.fill_(7))
    bank = GuideBank(plain_config(), 'heatmap', 2, 'DSKDHook')
    bank.freeze('epoch_1', student)
    assert all(torch.equal(value, before[name]) for name, value in student.items())
    (guide,) = bank.guides
    assert all((value == 7).all() for value in guide.teacher.model.state_dict().values())


def guide_of(head, **codec):
    config = copy.deepcopy(head)
    config['head']['decoder'].update(codec)
    return Teacher(config, None)


@pytest.mark.parametrize(
    ('kind', 'codec', 'message'),
    [
        ('heatmap', dict(type='UDPHeatmap'), r'i / \(W - 1\) of the picture, .* i / W: .*another'),
        ('heatmap', dict(heatmap_size=(16, 32)), 'heatmap_size.*PoseDistiller with resize'),
        ('bins', dict(input_size=(64, 128)), r'input_size=\(64, 128\).* same bins; give another'),
        ('bins', dict(simcc_split_ratio=4.0), 'simcc_split_ratio=4.0.* same bins; give another'),
    ],
)  # fmt: skip
def test_a_guide_that_speaks_otherwise_is_told_before_training(kind, codec, message):
    config, simcc = plain_config(), ocd_of('simcc')
    if kind == 'bins':
        config = build(simcc).head.deployed().config(simcc)
    student = build(config).head
    check_fit(guide_of(config), kind, student)
    with pytest.raises(ValueError, match=message):
        check_fit(guide_of(config, **codec), kind, student)
