"""TCD in MMPose's runner: resumed, exported, with a cached teacher."""

import uuid

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpose.registry import MODELS

from mmpose_kd.core.checkpoints import read_checkpoint
from mmpose_kd.export import export_student

from ..helpers.distillers import saved_teacher
from ..helpers.models import images
from ..helpers.ocd import REGRESSION, codec_of, plain_of, train
from ..helpers.runs import draw, run_config
from ..helpers.tcd import CROSS, TASK, tcd_of


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A teacher's config and checkpoint."""
    return saved_teacher(tmp_path_factory.mktemp('teacher'))


def student():
    config = plain_of('regression')
    config['head']['num_joints'] = 17
    return config


def run_of(data, work_dir, trained, **task):
    entries = {**TASK, 'balance': True, **task}, CROSS
    model = tcd_of(*entries, teachers=[trained], student=student())
    cfg = run_config(data, work_dir, model)
    cfg['train_dataloader']['dataset']['pipeline'][-2]['encoder'] = codec_of('regression')
    cfg['custom_hooks'] = [dict(type='SyncBuffersHook')]
    return cfg


def saved(path):
    return read_checkpoint(path)['state_dict']


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_weights_to_the_last_bit(data, tmp_path, trained):
    task = dict(balance=dict(interval=3))
    whole, parts = (run_of(data, tmp_path / name, trained, **task) for name in ('whole', 'parts'))
    steps = train(whole).iter
    with pytest.raises(KeyboardInterrupt):
        train(parts, stop=True)
    train(parts, resume=True)
    one, two = (saved(tmp_path / name / 'epoch_2.pth') for name in ('whole', 'parts'))
    assert one.keys() == two.keys()
    assert [key for key in one if not torch.equal(one[key], two[key])] == []
    assert one['distill.0.balance.step'] == steps > 0
    assert all(k.startswith(('student.', 'distill.0.adapter.', 'distill.0.balance.')) for k in one)


def test_the_exported_student_is_plain_and_predicts_the_same(data, tmp_path, trained):
    cfg = run_of(data, tmp_path / 'work', trained)
    Config(cfg).dump(tmp_path / 'run.py')
    runner = train(cfg)
    export_student(tmp_path / 'run.py', tmp_path / 'work/epoch_2.pth', tmp_path / 'out')
    script = Config.fromfile(tmp_path / 'out/student.py')
    assert script.model == Config(dict(model=student())).model
    assert 'mmpose_kd' not in (tmp_path / 'out/student.py').read_text()
    step = script.train_dataloader.dataset.pipeline[-2]
    assert step.encoder == Config(dict(codec=REGRESSION)).codec
    plain = MODELS.build(script.model).eval()
    plain.load_state_dict(saved(tmp_path / 'out/student.pth'), strict=True)
    runner.model.eval()
    with torch.no_grad():
        assert torch.equal(
            plain(images(), None, mode='tensor'), runner.model(images(), None, mode='tensor')
        )


def with_cache(cfg, folder):
    """The run with TeacherCacheHook, and pictures that come back."""
    steps = cfg['train_dataloader']['dataset']['pipeline']
    crop = next(i for i, step in enumerate(steps) if step['type'] == 'TopdownAffine')
    steps[crop] = dict(
        type='FixedAugmentations',
        variants=1,
        transforms=[dict(type='RandomFlip'), steps[crop]],
    )
    steps[-1] = dict(type='PackPoseViews')
    cfg['train_cfg']['max_epochs'] = 1
    cfg['custom_hooks'] += [dict(type='TeacherCacheHook', path=str(folder))]
    return cfg


def test_a_cached_teacher_ends_with_the_same_weights_filled_or_empty(data, tmp_path, trained):
    ends = []
    for name in ('filling', 'filled'):
        cfg = with_cache(run_of(data, tmp_path / name, trained), tmp_path / 'cache')
        calls = []
        cfg = Config(cfg)
        cfg.experiment_name = uuid.uuid4().hex
        runner = Runner.from_cfg(cfg)
        backbone = runner.model.teachers[0].model.backbone
        backbone.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        runner.train()
        ends.append((len(calls), saved(tmp_path / name / 'epoch_1.pth')))
    (ran, one), (ran_again, two) = ends
    assert ran > 0 == ran_again
    assert [key for key in one if not torch.equal(one[key], two[key])] == []


def logged(work_dir):
    return next(work_dir.glob('*/*.log')).read_text()


def test_a_teacher_of_which_only_the_head_is_used_gets_no_cache(data, tmp_path, trained):
    cfg = with_cache(run_of(data, tmp_path / 'work', trained), tmp_path / 'cache')
    cfg['model']['teachers'].append(dict(trained))
    cfg['model']['distill'][0]['from_teachers'] = [1]
    cfg['log_level'] = 'INFO'
    train(cfg)
    assert [path.name for path in (tmp_path / 'cache').iterdir()] == ['teacher0.sqlite']
    log = logged(tmp_path / 'work')
    assert 'teacher0.sqlite: ' in log
    assert log.count('model.teachers[1] is not cached') == 1
    assert 'model.teachers[0] is not cached' not in log


@pytest.mark.parametrize('rest', [[], [{**CROSS, 'weight': 0.0}]], ids=['task alone', 'weight 0'])
def test_without_outputs_to_keep_the_hook_rests_and_asks_nothing_of_the_pipeline(
    data, tmp_path, trained, rest
):
    cfg = run_of(data, tmp_path / 'work', trained)
    cfg['model']['distill'][1:] = rest
    cfg['log_level'] = 'INFO'
    cfg['train_cfg']['max_epochs'] = 1
    cfg['custom_hooks'] += [dict(type='TeacherCacheHook', path=str(tmp_path / 'cache'))]
    train(cfg)
    assert not (tmp_path / 'cache').exists()
    assert 'model.teachers[0] is not cached: no entry of' in logged(tmp_path / 'work')
