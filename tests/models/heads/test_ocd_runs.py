"""OCDHead in MMPose's runner: validated with both heads, resumed, exported."""

import copy
import uuid

import pytest
import torch
from build import SIZE
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from ocd import codec_of, ocd_of
from runs import draw, run_config

from mmpose_kd.export import export_student

KIND = 'regression'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


def ocd(data, work_dir):
    """Two epochs of training, both heads validated after each."""
    model = ocd_of(KIND, balance=dict(interval=3), cross_schedule=dict(type='linear_decay'))
    model['head']['deploy']['head']['num_joints'] = 17
    model['head']['heatmap']['out_channels'] = 17
    model['test_cfg']['branch'] = 'all'
    cfg = run_config(data, work_dir, model)
    cfg['train_dataloader']['dataset']['pipeline'][-2]['encoder'] = codec_of(KIND)
    return cfg


def test_a_run_with_two_necks_is_refused_before_its_first_step(data, tmp_path):
    cfg = ocd(data, tmp_path / 'work')
    cfg['model']['neck'] = dict(type='FeatureMapProcessor')
    with pytest.raises(ValueError, match=r'model\.neck and model\.head\.deploy\.neck'):
        train(cfg)
    assert not list((tmp_path / 'work').glob('*.pth'))


class Stop(Hook):
    """Ends a run as a crash would, at the start of an epoch."""

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            raise KeyboardInterrupt


def train(cfg, stop=False, **changes):
    cfg = Config(copy.deepcopy(cfg))
    cfg.merge_from_dict(changes)
    cfg.experiment_name = uuid.uuid4().hex
    runner = Runner.from_cfg(cfg)
    if stop:
        runner.register_hook(Stop())
    runner.train()
    return runner


def test_a_resumed_run_ends_with_the_same_weights_and_balance(data, tmp_path):
    whole, parts = (ocd(data, tmp_path / name) for name in ('whole', 'parts'))
    expected = train(whole)
    with pytest.raises(KeyboardInterrupt):
        train(parts, stop=True)
    found = train(parts, resume=True)
    one, two = (runner.model.state_dict() for runner in (expected, found))
    assert one.keys() == two.keys() and 'head.balance.norms' in one
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert int(one['head.balance.step']) == expected.iter


def test_both_heads_are_validated_and_the_exported_student_scores_the_same(data, tmp_path):
    runner = train(ocd(data, tmp_path / 'work'))
    metrics = runner.val()
    assert {'EPE', 'deploy/EPE', 'heatmap/EPE', 'deploy/coco/AP'} <= metrics.keys()
    assert metrics['EPE'] == metrics['deploy/EPE'] != metrics['heatmap/EPE']

    runner.cfg.dump(tmp_path / 'ocd.py')
    export_student(tmp_path / 'ocd.py', tmp_path / 'work/epoch_2.pth', tmp_path / 'out')
    student = Config.fromfile(tmp_path / 'out/student.py')
    assert 'mmpose_kd' not in (tmp_path / 'out/student.py').read_text()
    encoder = student.train_dataloader.dataset.pipeline[-2].encoder
    assert encoder.to_dict() == dict(type='RegressionLabel', input_size=SIZE)
    student.update(load_from=str(tmp_path / 'out/student.pth'), work_dir=str(tmp_path / 'test'))
    student.experiment_name = uuid.uuid4().hex
    assert Runner.from_cfg(student).test()['EPE'] == metrics['EPE']
