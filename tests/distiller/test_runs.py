"""PoseDistiller in MMPose's runner: resumed, averaged, validated, exported."""

import copy
import uuid

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpose.registry import HOOKS, MODELS

from mmpose_kd.cli import main
from mmpose_kd.core.checkpoints import read_checkpoint
from mmpose_kd.export import ExportError, export_student

from ..helpers.models import HRNET, RESNET, SIZE, build, images, plain_config, randomize
from ..helpers.runs import draw, run_config

ENTRY = dict(
    loss=dict(type='KeypointMSELoss', use_target_weight=True),
    student='head.final_layer',
    teacher='head.final_layer',
    name='kd',
)


@HOOKS.register_module()
class LaterPipeline(Hook):
    """Another pipeline from an epoch on, as MMDetection's PipelineSwitchHook gives it."""

    def __init__(self, switch_epoch, switch_pipeline):
        self.epoch, self.pipeline = switch_epoch, switch_pipeline

    def before_train_epoch(self, runner):
        if runner.epoch >= self.epoch:
            runner.train_dataloader.dataset.pipeline = Compose(self.pipeline)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


def with_17(backbone):
    config = plain_config(backbone)
    config['head']['out_channels'] = 17
    return config


@pytest.fixture(scope='module')
def teacher(data, tmp_path_factory):
    """A teacher of MMPose's own training: its config and its checkpoint."""
    folder = tmp_path_factory.mktemp('teacher')
    cfg = run_config(data, folder / 'work', with_17(HRNET))
    cfg.update(custom_hooks=[], train_cfg=dict(by_epoch=True, max_epochs=1))
    Config(cfg).dump(folder / 'teacher.py')
    train(cfg)
    return dict(config=str(folder / 'teacher.py'), checkpoint=str(folder / 'work/epoch_1.pth'))


def distilled(data, work_dir, teacher, *entries, hooks=(), **changes):
    model = dict(
        type='PoseDistiller',
        student=with_17(RESNET),
        teachers=[teacher],
        distill=[{**ENTRY, **entry} for entry in entries or [{}]],
    )
    cfg = run_config(data, work_dir, model)
    cfg['custom_hooks'] = [dict(type='SyncBuffersHook'), *hooks]
    return {**cfg, **changes}


class Stop(Hook):
    """Ends a run as a crash would, at the start of an epoch."""

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            raise KeyboardInterrupt


def train(cfg, stop=False, **changes):
    cfg = Config(copy.deepcopy(cfg))
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in changes.items()})
    cfg.experiment_name = uuid.uuid4().hex
    runner = Runner.from_cfg(cfg)
    if stop:
        runner.register_hook(Stop())
    runner.train()
    return runner


def saved(path):
    return read_checkpoint(path)


def test_a_resumed_run_ends_with_the_same_weights_to_the_last_bit(data, tmp_path, teacher):
    adapter = dict(type='Conv2d', in_channels=64, out_channels=4, kernel_size=1)
    feature = dict(
        loss=dict(type='FeatureMSELoss'),
        student='backbone',
        teacher='backbone',
        adapter=adapter,
        resize='areas',
        name='feature',
        schedule=dict(type='linear_decay'),
    )
    whole, parts = (
        distilled(data, tmp_path / name, teacher, {}, feature) for name in ('whole', 'parts')
    )
    train(whole)
    with pytest.raises(KeyboardInterrupt):
        train(parts, stop=True)
    train(parts, resume=True)
    one, two = (
        saved(tmp_path / name / 'epoch_2.pth')['state_dict'] for name in ('whole', 'parts')
    )
    assert one.keys() == two.keys()
    assert [key for key in one if not torch.equal(one[key], two[key])] == []
    assert all(key.startswith(('student.', 'distill.1.adapter.')) for key in one)


def test_distillation_changes_the_student_and_weight_0_does_not(data, tmp_path, teacher):
    plain = run_config(data, tmp_path / 'plain', with_17(RESNET))
    plain['custom_hooks'] = []
    train(plain)
    train(distilled(data, tmp_path / 'off', teacher, dict(weight=0.0)))
    train(distilled(data, tmp_path / 'on', teacher))
    base, off, on = (
        saved(tmp_path / name / 'epoch_2.pth')['state_dict'] for name in ('plain', 'off', 'on')
    )
    assert all(torch.equal(value, off[f'student.{key}']) for key, value in base.items())
    assert any(not torch.equal(value, on[f'student.{key}']) for key, value in base.items())


def test_ema_trains_and_resumes_without_the_teacher_in_its_file(data, tmp_path, teacher):
    cfg = distilled(data, tmp_path, teacher, hooks=[dict(type='EMAHook')])
    train(cfg, train_cfg__max_epochs=1)
    assert train(cfg, resume=True).epoch == 2
    checkpoint = saved(tmp_path / 'epoch_2.pth')
    averaged = {k for k in checkpoint['ema_state_dict'] if k != 'steps'}
    assert averaged and all(key.startswith('module.student.') for key in averaged)
    assert all(torch.isfinite(v).all() for v in checkpoint['state_dict'].values())


def test_the_teachers_metrics_are_told_once_and_change_nothing(data, tmp_path, teacher):
    hook = dict(type='TeacherMetricsHook')
    told = distilled(data, tmp_path / 'told', teacher, hooks=[hook], log_level='INFO')
    untold = distilled(data, tmp_path / 'untold', teacher)
    train(told, train_cfg__max_epochs=1)
    train(untold, train_cfg__max_epochs=1)
    one, two = (
        saved(tmp_path / name / 'epoch_1.pth')['state_dict'] for name in ('told', 'untold')
    )
    assert all(torch.equal(one[key], two[key]) for key in one)
    log = next((tmp_path / 'told').glob('*/*.log')).read_text()
    row = next(line for line in log.splitlines() if line.startswith('teacher  '))
    # the same as MMPose's own test of the teacher
    cfg = Config.fromfile(teacher['config'])
    cfg.load_from, cfg.work_dir = teacher['checkpoint'], str(tmp_path / 'test')
    cfg.experiment_name = uuid.uuid4().hex
    expected = Runner.from_cfg(cfg).test()
    assert row.split()[1:] == [f'{value:.4f}' for value in expected.values()]

    train(told, resume=True)
    logs = [path.read_text() for path in (tmp_path / 'told').glob('*/*.log')]
    assert sum('\nteacher  ' in text for text in logs) == 1


def test_a_teacher_with_its_own_view_trains_validates_and_leaves_no_trace(data, tmp_path):
    big = with_17(HRNET)
    big['head']['decoder'] = dict(
        type='MSRAHeatmap', input_size=(64, 128), heatmap_size=(16, 32), sigma=1
    )
    teacher = dict(checkpoint=None, config=big, view='teacher')
    hook = dict(type='TeacherMetricsHook')
    cfg = distilled(data, tmp_path / 'work', teacher, dict(resize='corners'), hooks=[hook])
    for loader in ('train_dataloader', 'val_dataloader'):
        steps = cfg[loader]['dataset']['pipeline']
        crop = next(i for i, step in enumerate(steps) if step['type'] == 'TopdownAffine')
        steps.insert(crop, dict(type='TeacherView', input_size=(64, 128)))
        steps[-1] = dict(type='PackPoseViews')
    Config(cfg).dump(tmp_path / 'run.py')
    train(cfg)
    export_student(tmp_path / 'run.py', tmp_path / 'work/epoch_2.pth', tmp_path / 'out')
    text = (tmp_path / 'out/student.py').read_text()
    assert 'View' not in text and 'mmpose_kd' not in text
    assert text.count('PackPoseInputs') == 3


def with_view(steps):
    """A pipeline with a crop for the teacher."""
    crop = next(i for i, step in enumerate(steps) if step['type'] == 'TopdownAffine')
    view = dict(type='TeacherView', input_size=(32, 64))
    return [*steps[:crop], view, *steps[crop:-1], dict(type='PackPoseViews')]


def test_a_second_stage_without_the_teachers_view_is_refused_before_the_first_step(
    data, tmp_path, teacher
):
    """Also where the run that is resumed had no teacher's view, and needed none."""
    cfg = distilled(data, tmp_path / 'work', teacher)
    plain = cfg['train_dataloader']['dataset']['pipeline']
    switch = dict(type='LaterPipeline', switch_epoch=1, switch_pipeline=plain)
    cfg['custom_hooks'].append(switch)
    train(cfg, train_cfg__max_epochs=1)

    cfg['model']['teachers'] = [dict(teacher, view='teacher')]
    cfg['train_dataloader']['dataset']['pipeline'] = with_view(plain)
    elsewhere = dict(cfg, work_dir=str(tmp_path / 'elsewhere'))
    for changes in ({}, dict(resume=True, work_dir=cfg['work_dir'])):
        with pytest.raises(ValueError, match=r'^custom_hooks\[1\]\.switch_pipeline=.*TeacherView'):
            train(elsewhere, **changes)
    assert not list((tmp_path / 'elsewhere').glob('*.pth'))

    switch['switch_pipeline'] = with_view(plain)
    assert train(cfg, resume=True).epoch == 2


def test_the_exported_student_is_plain_and_predicts_the_same(data, tmp_path, teacher):
    cfg = distilled(data, tmp_path / 'work', teacher)
    Config(cfg).dump(tmp_path / 'run.py')
    runner = train(cfg)
    export_student(tmp_path / 'run.py', tmp_path / 'work/epoch_2.pth', tmp_path / 'out')
    script = Config.fromfile(tmp_path / 'out/student.py')
    assert script.model == Config(dict(model=with_17(RESNET))).model
    assert 'mmpose_kd' not in (tmp_path / 'out/student.py').read_text()
    plain = MODELS.build(script.model)
    plain.load_state_dict(saved(tmp_path / 'out/student.pth')['state_dict'], strict=True)
    runner.model.eval()
    with torch.no_grad():
        assert torch.equal(
            plain.eval()(images(), None, mode='tensor'),
            runner.model(images(), None, mode='tensor'),
        )


def test_a_branch_of_a_student_without_branches_is_refused(data, tmp_path, teacher):
    cfg = distilled(data, tmp_path / 'work', teacher)
    Config(cfg).dump(tmp_path / 'run.py')
    model = build(cfg['model'], init=False)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'x.pth')
    with pytest.raises(ExportError, match='branch'):
        export_student(tmp_path / 'run.py', tmp_path / 'x.pth', tmp_path / 'out', branch=1)
    assert not (tmp_path / 'out').exists()


def test_a_config_whose_teacher_is_gone_can_still_be_exported(data, tmp_path, teacher):
    cfg = distilled(data, tmp_path / 'work', {**teacher, 'checkpoint': 'nowhere.pth'})
    Config(cfg).dump(tmp_path / 'run.py')
    model = randomize(build(cfg['model'], init=False))
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'x.pth')
    export_student(tmp_path / 'run.py', tmp_path / 'x.pth', tmp_path / 'out')
    assert 'nowhere' not in (tmp_path / 'out/student.py').read_text()
    state = saved(tmp_path / 'out/student.pth')['state_dict']
    assert all(
        torch.equal(value, model.state_dict()[f'student.{k}']) for k, value in state.items()
    )


def test_a_student_with_the_unbiased_head_keeps_it_and_says_so(data, tmp_path, teacher, capsys):
    student = with_17(RESNET)
    student['head'] = dict(
        type='UnbiasedIntegralHead',
        in_channels=64,
        in_featuremap_size=(1, 2),
        num_joints=17,
        beta=2.0,
        deconv_out_channels=(8, 8, 8),
        decoder=dict(
            type='IntegralRegressionLabel',
            input_size=SIZE,
            heatmap_size=(8, 16),
            sigma=1.0,
            normalize=True,
        ),
    )
    student['test_cfg'] = dict(flip_test=True, shift_coords=True, shift_heatmap=True)
    entry = dict(
        loss=dict(type='HHDLoss', crop_size=(4, 4)), student='head.simplebaseline_head.final_layer'
    )
    cfg = distilled(data, tmp_path / 'work', teacher, entry)
    cfg['model']['student'] = student
    Config(cfg).dump(tmp_path / 'run.py')
    model = randomize(build(cfg['model'], init=False))
    assert model.distill[0].loss_module.beta == 2.0
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'x.pth')
    arguments = [str(tmp_path / name) for name in ('run.py', 'x.pth', 'out')]
    assert main(['export', *arguments]) == 0
    assert "head.type='UnbiasedIntegralHead'" in capsys.readouterr().err
    script = Config.fromfile(tmp_path / 'out/student.py')
    assert script.custom_imports.imports == ['mmpose_kd']
    assert script.model.head.type == 'UnbiasedIntegralHead'
    assert 'PoseDistiller' not in (tmp_path / 'out/student.py').read_text()


def test_a_teacher_in_another_order_is_measured_as_in_its_own(data, tmp_path, teacher):
    """With flip test, which needs to know the teacher's left and right."""
    order = [3, 0, 4, 1, 2, *range(16, 4, -1)]
    shuffled = copy.deepcopy(saved(teacher['checkpoint']))
    state = shuffled['state_dict']
    for name in ('weight', 'bias'):
        layer = state[f'head.final_layer.{name}']
        moved = torch.empty_like(layer)
        moved[order] = layer  # the teacher's number order[k] is the student's keypoint k
        state[f'head.final_layer.{name}'] = moved
    del shuffled['meta']['dataset_meta']
    torch.save(shuffled, tmp_path / 'shuffled.pth')
    lines = []
    for one in (
        {**teacher, 'checkpoint': str(tmp_path / 'shuffled.pth'), 'keypoints': order},
        teacher,
    ):
        folder = tmp_path / str(len(lines))
        cfg = distilled(data, folder, one, hooks=[dict(type='TeacherMetricsHook')])
        train({**cfg, 'log_level': 'INFO'}, train_cfg__max_epochs=1)
        log = next(folder.glob('*/*.log')).read_text()
        lines.append(next(line for line in log.splitlines() if line.startswith('teacher  ')))
    assert lines[0] == lines[1]


def test_a_teacher_of_other_keypoint_names_is_refused(data, tmp_path, teacher):
    other = copy.deepcopy(saved(teacher['checkpoint']))
    other['meta']['dataset_meta']['keypoint_id2name'][3] = 'left_horn'
    torch.save(other, tmp_path / 'other.pth')
    cfg = distilled(
        data,
        tmp_path / 'work',
        {**teacher, 'checkpoint': str(tmp_path / 'other.pth')},
        hooks=[dict(type='TeacherMetricsHook')],
    )
    with pytest.raises(ValueError, match=r'teachers\[0\].*3: left_ear, left_horn.*keypoints'):
        train(cfg)


def test_the_teachers_hook_needs_teachers(data, tmp_path):
    cfg = run_config(data, tmp_path, with_17(RESNET))
    cfg['custom_hooks'] = [dict(type='TeacherMetricsHook')]
    with pytest.raises(ValueError, match=r'TeacherMetricsHook.*TopdownPoseEstimator'):
        train(cfg)
