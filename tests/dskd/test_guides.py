"""The guides that a run has made of its student."""

import copy

import torch

from mmpose_kd.dskd import guides
from mmpose_kd.dskd.guides import GuideBank

from ..helpers.models import build, plain_config, randomize


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
