"""DSKDHook: what is exported of a run with it."""

import pytest
import torch
from mmengine.config import Config
from mmpose.registry import MODELS

from mmpose_kd.export import ExportError, export_student

from ..helpers.dskd_runs import saved, with_17
from ..helpers.models import images


def test_the_export_is_the_plain_config_with_the_trained_weights(finished, tmp_path):
    folder, runner, _, _ = finished
    export_student(folder / 'run.py', folder / 'work/epoch_3.pth', tmp_path)
    student = Config.fromfile(tmp_path / 'student.py')
    text = (tmp_path / 'student.py').read_text()
    assert 'DSKD' not in text and 'mmpose_kd' not in text and 'ExactResume' not in text
    assert student.model == Config(dict(model=with_17())).model
    assert [hook.type for hook in student.custom_hooks] == ['SyncBuffersHook', 'EMAHook']
    weights = saved(tmp_path / 'student.pth')['state_dict']
    trained = saved(folder / 'work/epoch_3.pth')['state_dict']
    assert all(torch.equal(weights[key], trained[key]) for key in trained)
    plain = MODELS.build(student.model)
    plain.load_state_dict(weights, strict=True)
    runner.model.load_state_dict(trained)
    with torch.no_grad():
        one, two = (m.eval()(images(), None, mode='tensor') for m in (plain, runner.model))
    assert torch.equal(one, two)


def test_there_is_no_branch_to_export(finished, tmp_path):
    folder, _, _, _ = finished
    with pytest.raises(ExportError, match='branch 1'):
        export_student(folder / 'run.py', folder / 'work/epoch_3.pth', tmp_path / 'out', branch=1)
    assert not (tmp_path / 'out').exists()
