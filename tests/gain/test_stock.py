"""Students are tested and measured where mmpose_kd cannot be imported."""

import ast
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpose.registry import MODELS

from mmpose_kd.export import StudentWarning, plain_config
from mmpose_kd.gain import one_run, stock
from mmpose_kd.gain.stock import student_costs
from mmpose_kd.gain.stock.evaluate_student import needs_package

from ..helpers import ROOT, models
from ..helpers.models import CHANNELS, SIZE
from ..helpers.runs import run_config

ENVIRONMENT = {**os.environ, 'PYTHONPATH': str(ROOT)}


def unbiased_config(data, folder):
    """Path of the config of a plain model that can only exist with mmpose_kd."""
    model = models.plain_config()
    codec = dict(type='IntegralRegressionLabel', input_size=SIZE, heatmap_size=(8, 16), sigma=1.0)
    model['head'] = dict(
        type='UnbiasedIntegralHead',
        in_channels=CHANNELS['ResNet'],
        in_featuremap_size=(1, 2),
        num_joints=17,
        loss=dict(type='SmoothL1Loss', use_target_weight=True),
        decoder=codec,
    )
    Config(run_config(data, folder, model)).dump(folder / 'unbiased.py')
    return str(folder / 'unbiased.py')


@pytest.mark.parametrize('which', ['plain', pytest.param('unbiased', marks=pytest.mark.slow)])
def test_a_student_is_tested_with_this_package_only_if_it_keeps_a_class_of_it(
    pair, data, tmp_path, which
):
    path = pair[0] if which == 'plain' else unbiased_config(data, tmp_path)
    model = MODELS.build(Config.fromfile(path).model)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'epoch_1.pth')
    shutil.copy(path, tmp_path / 'config.py')
    warns = pytest.warns(StudentWarning) if which == 'unbiased' else contextlib.nullcontext()
    with warns:
        student = one_run.write_student(tmp_path, tmp_path / 'epoch_1.pth')
    assert needs_package(student) is (which == 'unbiased')
    command = [sys.executable, '-X', 'importtime', str(stock.EVALUATE), str(student)]
    done = subprocess.run(
        [*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    imported = re.search(r'\| +mmpose_kd\b', done.stderr)
    assert bool(imported) is (which == 'unbiased')
    assert np.load(tmp_path / 'persons.npz')['keypoints'].shape[1:] == (17, 2)
    if which == 'unbiased':  # its cost is measured too
        command = [sys.executable, str(stock.COSTS), str(tmp_path / 'costs.json'), str(student)]
        subprocess.run(command, cwd=ROOT, check=True, env=ENVIRONMENT)
        [cost] = json.loads((tmp_path / 'costs.json').read_text())
        assert cost['parameters'] > 0


def test_students_take_turns_when_their_cost_is_measured(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(student_costs, 'ROUNDS', 3)
    threads = torch.get_num_threads()
    cfg = Config.fromfile(pair[0])
    plain_config(cfg, cfg.model).dump(tmp_path / 'student.py')
    one, two = student_costs.measure([tmp_path, tmp_path])
    torch.set_num_threads(threads)
    assert one['parameters'] == two['parameters'] > 10_000
    assert one['macs'] == two['macs'] > 100_000
    assert len(one['seconds']) == len(two['seconds']) == 3


@pytest.mark.parametrize('channels', [1, 4])
def test_pictures_of_other_channels_are_measured_with_as_many(
    pair, tmp_path, monkeypatch, channels
):
    monkeypatch.setattr(student_costs, 'ROUNDS', 1)
    threads = torch.get_num_threads()
    cfg = Config.fromfile(pair[0])
    cfg.model.backbone.in_channels = channels
    cfg.model.data_preprocessor = dict(type='PoseDataPreprocessor')
    plain_config(cfg, cfg.model).dump(tmp_path / 'student.py')
    [cost] = student_costs.measure([tmp_path])
    torch.set_num_threads(threads)
    assert cost['macs'] > 0


@pytest.mark.parametrize('file', [stock.EVALUATE, stock.COSTS])
def test_programs_for_students_import_nothing_of_this_package(file):
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not [one for one in node.names if one.name.startswith('mmpose_kd')]
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and not node.module.startswith('mmpose_kd')


def test_the_input_size_is_found_in_data_sets_of_data_sets():
    step = dict(type='TopdownAffine', input_size=[48, 64])
    inner = dict(type='RepeatDataset', dataset=dict(pipeline=[dict(type='LoadImage'), step]))
    combined = dict(type='CombinedDataset', datasets=[inner], pipeline=[])
    cfg = Config(dict(test_dataloader=dict(dataset=combined)))
    assert student_costs.input_size(cfg) == (48, 64)
    with pytest.raises(ValueError, match='no transform with input_size'):
        student_costs.input_size(Config(dict(test_dataloader=dict(dataset=dict(pipeline=[])))))
