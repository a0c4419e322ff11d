"""Networks of OKDHP's paper in a real run: they train, resume, export and load strictly."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpose.registry import MODELS

from mmpose_kd.core.checkpoints import read_checkpoint
from mmpose_kd.export import StudentWarning, export_student

from ..helpers.models import RESNET, STACKED, okdhp_config
from ..helpers.runs import run_config

SHUFFLE = dict(type='PixelShuffleHead', in_channels=64, out_channels=17, mid_channels=16)


def hourglass():
    """Unbalanced: two stacks, one of them shared, and a sibling of three."""
    backbone = dict(STACKED, out_channels=17, num_stacks=2)
    branches = [dict(), dict(backbone=dict(num_stacks=3), head=dict(num_stages=3))]
    model = okdhp_config(backbone, 'stack1', num_branches=2, branches=branches, preset='released')
    model['head']['head'].update(in_channels=17, out_channels=17, loss=dict(type='JointsMSELoss'))
    return model


def decoders():
    model = okdhp_config(RESNET, 'end', num_branches=2, preset='released')
    model['head']['head'] = dict(SHUFFLE, decoder=model['head']['head']['decoder'])
    return model


@pytest.mark.parametrize(
    ('model', 'kept'),
    [
        (hourglass, "model.backbone.type='StackedHourglass'"),
        pytest.param(decoders, "model.head.type='PixelShuffleHead'", marks=pytest.mark.slow),
    ],
    ids=['hourglass', 'pixel shuffle'],
)
def test_it_trains_resumes_exports_and_loads_strictly(model, kept, run, tmp_path):
    cfg = run_config(run / 'data', tmp_path / 'work', model())
    cfg['model']['test_cfg']['branch'] = 'all'
    cfg['train_cfg']['max_epochs'] = 1
    cfg['train_dataloader']['dataset']['indices'] = 4  # one iteration an epoch
    metrics = ['coco/AP', 'branch1/coco/AP']
    cfg['default_hooks']['checkpoint']['save_best'] = metrics
    Runner.from_cfg(Config(cfg)).train()
    first = read_checkpoint(tmp_path / 'work/epoch_1.pth')['state_dict']

    cfg['train_cfg']['max_epochs'] = 2
    again = Config({**cfg, 'resume': True, 'experiment_name': 'resumed'})
    again.dump(tmp_path / 'run.py')
    runner = Runner.from_cfg(again)
    runner.train()
    last = runner.model.state_dict()
    assert first.keys() == last.keys()
    moved = [name for name in last if not torch.equal(first[name], last[name])]
    assert {name for name in last if name.endswith('.weight')} <= set(moved)

    out = tmp_path / 'out'
    with pytest.warns(StudentWarning, match='needs mmpose_kd'):
        export_student(tmp_path / 'run.py', tmp_path / 'work/epoch_2.pth', out)
    header, *_ = (out / 'student.py').read_text().splitlines()
    assert header == f'# Needs mmpose_kd to be installed, also to predict: {kept}'
    student = Config.fromfile(out / 'student.py')
    assert student.custom_imports.imports == ['mmpose_kd']
    assert student.default_hooks.checkpoint.save_best == ['coco/AP']
    state = torch.load(out / 'student.pth', weights_only=True)['state_dict']
    MODELS.build(student.model).load_state_dict(state, strict=True)
