"""What the recipes of OCD and TCD make of a config, in MMPose's runner and exported."""

import pytest
import torch
from mmengine.config import Config

from mmpose_kd.core.recipe import RECIPES
from mmpose_kd.export import export_student

from ..helpers.models import build
from ..helpers.ocd import HEADS, plain_of, train
from ..helpers.runs import draw, run_config
from ..helpers.tcd import small_teacher

OCD, TCD = RECIPES['ocd'], RECIPES['tcd']


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


@pytest.fixture
def plain(data, tmp_path):
    model = plain_of('regression')
    model['head']['num_joints'] = 17
    cfg = run_config(data, tmp_path / 'work', model)
    cfg['train_dataloader']['dataset']['pipeline'][-2]['encoder'] = HEADS['regression']['head'][
        'decoder'
    ]
    cfg['custom_hooks'] = [dict(type='SyncBuffersHook'), dict(type='EmptyCacheHook')]
    cfg['train_cfg']['max_epochs'] = 1
    return cfg


def test_what_ocd_makes_runs_and_is_exported(plain, tmp_path):
    made = OCD.distilled(plain)
    assert made['custom_hooks'][:2] == plain['custom_hooks']
    runner = train(made)
    assert {'EPE', 'deploy/EPE', 'heatmap/EPE'} <= runner.val().keys()
    Config(made).dump(tmp_path / 'made.py')
    export_student(tmp_path / 'made.py', tmp_path / 'work/epoch_1.pth', tmp_path / 'out')
    student = Config.fromfile(tmp_path / 'out/student.py')
    assert student.model == Config(plain).model


def test_what_tcd_makes_runs_and_is_exported(plain, tmp_path):
    """With a teacher of another input size, so with all that is added to the pipelines."""
    teacher = small_teacher((64, 128))['config']
    Config(dict(model=teacher)).dump(tmp_path / 'teacher.py')
    torch.save({'state_dict': build(teacher).state_dict()}, tmp_path / 'teacher.pth')
    paths = (str(tmp_path / f'teacher.{end}') for end in ('py', 'pth'))
    made = TCD.distilled(plain, dict(zip(('config', 'checkpoint'), paths)))
    assert made['custom_hooks'][:2] == plain['custom_hooks']
    train(made)
    Config(made).dump(tmp_path / 'made.py')
    export_student(tmp_path / 'made.py', tmp_path / 'work/epoch_1.pth', tmp_path / 'out')
    student = Config.fromfile(tmp_path / 'out/student.py')
    assert student.model == Config(plain).model
    pipeline = student.train_dataloader.dataset.pipeline
    assert [s.type for s in pipeline] == [
        s['type'] for s in plain['train_dataloader']['dataset']['pipeline']
    ]
