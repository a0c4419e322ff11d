"""DSKDHook: guided by its own earlier selves, and no trace of it afterwards."""

import contextlib
import copy
import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from build import HOURGLASS, RESNET, build, images, okdhp_config, plain_config, randomize
from dskd_runs import (
    HOOK,
    Record,
    dskd_config,
    hook_of,
    make_runner,
    saved,
    train,
    value,
    with_17,
    without_dskd,
)
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmpose.registry import MODELS
from ocd import codec_of, ocd_of, plain_of
from runs import draw, run_config
from torch import nn

from mmpose_kd.deployed import deployed_head
from mmpose_kd.export import ExportError, export_student
from mmpose_kd.hooks import DSKDHook
from mmpose_kd.models.losses.binarize import denoise
from mmpose_kd.models.losses.dense_guidance import weighted_mse


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


@pytest.fixture(scope='module')
def finished(data, tmp_path_factory):
    """A run of three generations with EMA and accumulated gradients: folder and runner."""
    folder = tmp_path_factory.mktemp('finished')
    cfg = dskd_config(data, folder / 'work', hooks=[dict(type='EMAHook')], epochs=3, keep_prob=1.0)
    cfg['optim_wrapper']['accumulative_counts'] = 2
    Config(cfg).dump(folder / 'run.py')
    watch = Watch()
    runner = make_runner(cfg, Record(), watch)
    clean = traces(runner.model)
    runner.train()
    return folder, runner, watch, clean


class Watch(Hook):
    """Looks at the guides while they teach."""

    priority = 'VERY_LOW'

    def __init__(self):
        self.before, self.modes, self.trained = {}, [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        for guide in hook_of(runner).bank.guides:
            model = guide.teacher.model
            state = {k: v.clone() for k, v in model.state_dict().items()}
            known = self.before.setdefault(guide.name, state)
            self.modes += [m.training for m in model.modules()]
            self.trained += [k for k in known if not torch.equal(known[k], state[k])]
            self.trained += [
                p for p in model.parameters() if p.requires_grad or p.grad is not None
            ]


def traces(model):
    """What hangs on a model beside its weights."""
    return {
        name: (sorted(vars(m)), len(m._forward_hooks), len(m._forward_pre_hooks))
        for name, m in model.named_modules()
    }


def losses_of(runner):
    return next(hook for hook in runner.hooks if type(hook) is Record).losses


# ------------------------------------------------------------------------------- a run


def test_guides_teach_from_the_second_generation_on_and_never_change(finished):
    _, runner, watch, _ = finished
    kd = [value(step['loss_dskd_kd']) for step in losses_of(runner).values()]
    per_epoch = len(kd) // 3
    assert kd[:per_epoch] == [0.0] * per_epoch and min(kd[per_epoch:]) > 0
    assert [guide.name for guide in hook_of(runner).bank.guides] == ['epoch_1', 'epoch_2']
    assert watch.before.keys() == {'epoch_1', 'epoch_2'}
    assert not any(watch.modes) and watch.trained == []


def test_nothing_of_it_stays_on_the_model(finished):
    _, runner, _, clean = finished
    assert traces(runner.model) == clean
    assert 'run' not in vars(runner.train_loop)


@pytest.mark.parametrize('error', [KeyboardInterrupt, ZeroDivisionError])
def test_nothing_of_it_stays_after_an_exception(data, tmp_path, error):
    class Fail(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.iter == 1:
                assert 'loss' in vars(runner.model)  # it is at work
                raise error

    runner = make_runner(dskd_config(data, tmp_path))
    runner.register_hook(Fail(), priority='LOWEST')
    clean = traces(runner.model)
    with pytest.raises(error):
        runner.train()
    assert traces(runner.model) == clean and 'run' not in vars(runner.train_loop)


def test_the_checkpoint_holds_the_state_and_no_guide_among_the_weights(finished):
    folder, _, _, _ = finished
    checkpoint = saved(folder / 'work/epoch_3.pth')
    stock = build(with_17()).state_dict()
    assert checkpoint['state_dict'].keys() == stock.keys()
    assert {key[7:] for key in checkpoint['ema_state_dict'] if key != 'steps'} == stock.keys()
    assert not any('guide' in key or 'dskd' in key for key in checkpoint['state_dict'])
    state = checkpoint['dskd']
    assert [guide['file'] for guide in state['guides']] == ['dskd_epoch_1.pth', 'dskd_epoch_2.pth']
    assert state['generation'] == 2
    # a guide's file is a checkpoint of the stock model
    guide = saved(folder / 'work/dskd_epoch_1.pth')
    build(with_17()).load_state_dict(guide['state_dict'], strict=True)


def test_agreement_kept_pixels_and_guidance_are_logged_without_joining_the_sum(finished):
    folder, _, _, _ = finished
    log = next((folder / 'work').glob('*/vis_data/scalars.json')).read_text()
    last = eval(log.splitlines()[-1])
    ours = {key for key in last if key.startswith('dskd/')}
    assert ours == {f'dskd/{n}_guide{i}' for n in ('agreement', 'kept', 'kd') for i in (0, 1)}
    assert all(0 <= last[f'dskd/kept_guide{i}'] <= 1 for i in (0, 1))
    assert {key for key in last if 'loss' in key} == {
        'loss', 'loss_kpt', 'loss_dskd_kd', 'loss_dskd_cls',
    }  # fmt: skip


def test_the_losses_are_those_of_the_formula(data, tmp_path):
    """With the run's own pictures, guides and weights, computed again by hand."""
    found = {}

    class Look(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.epoch == 2 and batch_idx == 0:
                model = copy.deepcopy(runner.model)
                data = model.data_preprocessor(copy.deepcopy(data_batch), True)
                weight = torch.cat(
                    [s.gt_instance_labels.keypoint_weights for s in data['data_samples']]
                )
                said = model(data['inputs'], None, mode='tensor')
                losses = []
                for guide in hook_of(runner).bank.guides:
                    maps = guide.teacher.model(data['inputs'], None, mode='tensor')
                    losses.append(weighted_mse(said, denoise(maps, 0.5, 1e-6), weight))
                found['expected'] = 10 * sum(losses) / len(losses)
                found['model'] = (model(**data, mode='loss'), runner.iter)

    record = Record()
    runner = make_runner(dskd_config(data, tmp_path, epochs=3, keep_prob=1.0), record)
    runner.register_hook(Look(), priority='HIGHEST')
    runner.train()
    plain, step = found['model']
    assert value(record.losses[step]['loss_kpt']) == plain['loss_kpt'].item()
    torch.testing.assert_close(
        torch.tensor(value(record.losses[step]['loss_dskd_kd'])), found['expected'].detach()
    )


@pytest.mark.parametrize(
    'settings',
    [dict(), dict(redraw=True), dict(guides='snapshots', interval=1)],
    ids=['generations', 'redrawn', 'snapshots'],
)
def test_with_weights_of_0_training_is_plain_to_the_last_bit(data, tmp_path, settings):
    cfg = dskd_config(data, tmp_path / 'off', epochs=3, **{**settings, 'alpha': 0, 'gamma': 0.0})
    runner, off = train(cfg)
    states = torch.get_rng_state()
    _, plain = train(without_dskd({**cfg, 'work_dir': str(tmp_path / 'plain')}))
    assert torch.equal(states, torch.get_rng_state())
    assert len(hook_of(runner).bank) == 0
    zero = {'loss_dskd_kd': (0.0).hex(), 'loss_dskd_cls': (0.0).hex()}
    assert off == {step: {**losses, **zero} for step, losses in plain.items()}
    one, two = (saved(tmp_path / n / 'epoch_3.pth')['state_dict'] for n in ('off', 'plain'))
    assert all(torch.equal(one[key], two[key]) for key in two)


def test_guides_draw_no_random_numbers_of_the_run(data, tmp_path):
    """A weight that is 0 by its schedule until the end: guides are frozen all the same."""
    late = dict(alpha_schedule=dict(start=2), gamma=0.0)
    cfg = dskd_config(data, tmp_path / 'late', epochs=3, **late)
    runner, late = train(cfg)
    _, plain = train(without_dskd({**cfg, 'work_dir': str(tmp_path / 'plain')}))
    assert len(hook_of(runner).bank) == 2
    steps = [step for step in plain if value(late[step]['loss_dskd_kd']) == 0]
    assert len(steps) == len(plain) * 2 // 3
    assert all(late[step]['loss_kpt'] == plain[step]['loss_kpt'] for step in steps)
    # at the first guided step the pictures are still those of the plain run
    assert late[len(steps)]['loss_kpt'] == plain[len(steps)]['loss_kpt']


class HalfOnCPU(OptimWrapper):
    """Mixed precision as of AmpOptimWrapper, which asks for a GPU."""

    @contextlib.contextmanager
    def optim_context(self, model):
        with super().optim_context(model), torch.autocast('cpu', torch.float16):
            yield


def test_mixed_precision_trains(data, tmp_path, monkeypatch):
    monkeypatch.setitem(OPTIM_WRAPPERS.module_dict, 'HalfOnCPU', HalfOnCPU)
    cfg = dskd_config(data, tmp_path, epochs=3)
    cfg['optim_wrapper'].update(type='HalfOnCPU')
    _, losses = train(cfg)
    assert all(value(v) == value(v) for step in losses.values() for v in step.values())
    assert value(losses[len(losses) - 1]['loss_dskd_kd']) > 0


def test_a_run_of_iterations_freezes_by_iterations(data, tmp_path):
    cfg = dskd_config(data, tmp_path)
    cfg['custom_hooks'] = [{**HOOK, 'keep_prob': 1.0}]
    cfg['train_cfg'] = dict(by_epoch=False, max_iters=4)
    cfg['default_hooks']['checkpoint'] = dict(type='CheckpointHook', interval=2, by_epoch=False)
    cfg['train_dataloader']['sampler'] = dict(type='InfiniteSampler')
    _, losses = train(cfg)
    assert [value(step['loss_dskd_kd']) > 0 for step in losses.values()] == [0, 1, 1, 1]
    assert [g['name'] for g in saved(tmp_path / 'iter_2.pth')['dskd']['guides']] == ['iter_1']
    assert [g['name'] for g in saved(tmp_path / 'iter_4.pth')['dskd']['guides']] == [
        'iter_1', 'iter_3',
    ]  # fmt: skip
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_2.pth'))
    runner, resumed = train(cfg, resume=True)
    assert list(resumed) == [2, 3]
    assert [guide.name for guide in hook_of(runner).bank.guides] == ['iter_1', 'iter_3']


def test_guides_that_no_checkpoint_needs_are_removed(data, tmp_path):
    snapshots = dict(guides='snapshots', interval=1, num_guides=2)
    cfg = dskd_config(data, tmp_path, epochs=6, **snapshots)
    cfg['default_hooks']['checkpoint']['max_keep_ckpts'] = 2
    train(cfg)
    # epoch_5 was trained on with guides 4 and 5, epoch_6 is the end: no guide is made of it
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == [
        'dskd_epoch_4.pth', 'dskd_epoch_5.pth', 'epoch_5.pth', 'epoch_6.pth',
    ]  # fmt: skip
    for epoch in (5, 6):
        for guide in saved(tmp_path / f'epoch_{epoch}.pth')['dskd']['guides']:
            assert (tmp_path / guide['file']).is_file()


def test_a_redrawn_generation_starts_anew(data, tmp_path):
    first = {}

    class Look(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if batch_idx == 0:
                weight = runner.model.backbone.conv1.weight.detach().clone()
                first[runner.epoch] = weight, len(runner.optim_wrapper.optimizer.state)

    runner = make_runner(dskd_config(data, tmp_path, epochs=3, redraw=True), Look())
    runner.train()
    frozen = hook_of(runner).bank.guides[0].teacher.model.backbone.conv1.weight
    assert not torch.equal(first[1][0], frozen) and not torch.equal(first[1][0], first[0][0])
    assert not torch.equal(first[1][0], first[2][0])
    assert [count for _, count in first.values()] == [0, 0, 0]


# -------------------------------------------------------------- other ways to run it


def test_it_goes_on_with_its_guides_where_an_interrupted_training_goes_on(data, tmp_path):
    """As in a notebook: Ctrl-C, and ``runner.train()`` once more."""
    whole_runner, whole = train(dskd_config(data, tmp_path / 'whole', epochs=3))

    def interrupt():
        record.end_at = None
        raise KeyboardInterrupt

    per_epoch = len(whole) // 3
    record = Record(2 * per_epoch, interrupt)
    runner = make_runner(dskd_config(data, tmp_path / 'parts', epochs=3), record)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    runner.train()
    assert record.losses == whole
    bank, other = hook_of(runner).bank, hook_of(whole_runner).bank
    assert [g.sha256 for g in bank.guides] == [g.sha256 for g in other.guides]


def test_a_resume_within_a_redrawn_generation_keeps_what_was_learned(data, tmp_path):
    """Checkpoints that are written by iterations lie in the middle of an epoch."""
    cfg = dskd_config(data, tmp_path, epochs=3, redraw=True)
    cfg['default_hooks']['checkpoint'] = dict(type='CheckpointHook', interval=1, by_epoch=False)
    _, losses = train(cfg)
    assert goes_on_from(tmp_path / f'iter_{len(losses) // 3 + 1}.pth', cfg)


def test_a_plain_run_that_is_resumed_with_redraw_keeps_what_was_learned(data, tmp_path):
    """Also where a generation would have begun: there is no guide yet that knows it."""
    cfg = dskd_config(data, tmp_path, epochs=3, redraw=True)
    train(without_dskd(cfg), train_cfg__max_epochs=1)
    assert goes_on_from(tmp_path / 'epoch_1.pth', cfg)


def goes_on_from(path, cfg):
    """Whether the first step of the resumed run has the checkpoint's weights."""
    first = {}

    class Look(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if not first:
                first.update(copy.deepcopy(runner.model.state_dict()))

    (path.parent / 'last_checkpoint').write_text(str(path))
    make_runner(cfg, Look(), resume=True).train()
    return all(torch.equal(first[key], v) for key, v in saved(path)['state_dict'].items())


def test_of_more_guides_than_the_resumed_run_asks_for_the_newest_are_kept(data, tmp_path):
    cfg = dskd_config(data, tmp_path, epochs=4, guides='snapshots', interval=1, num_guides=3)
    train(cfg)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_3.pth'))
    cfg['custom_hooks'][-1]['num_guides'] = 1
    runner, _ = train(cfg, resume=True)
    assert [guide.name for guide in hook_of(runner).bank.guides] == ['epoch_3']


def test_a_changed_plan_is_told_and_the_run_goes_on_with_its_guides(data, tmp_path):
    cfg = dskd_config(data, tmp_path, epochs=3)
    train(cfg)
    runner, _ = train(cfg, resume=True, train_cfg__max_epochs=6)
    log = next(tmp_path.glob(f'{runner.timestamp}/*.log')).read_text()
    assert 'epoch_1, epoch_2' in log and 'would have been epoch_2;' in log
    assert [guide.name for guide in hook_of(runner).bank.guides] == ['epoch_2', 'epoch_4']


def test_a_test_or_a_validation_alone_does_not_need_the_guides(data, tmp_path):
    cfg = run_config(data, tmp_path, with_17())
    cfg['custom_hooks'] = [{**HOOK, 'guides': ['nowhere.pth']}]
    del cfg['default_hooks']['checkpoint']['save_best']  # MMEngine needs a training for that
    for job in ('test', 'val'):
        runner = make_runner(cfg)
        clean = traces(runner.model)
        assert 'coco/AP' in getattr(runner, job)()
        assert traces(runner.model) == clean


def test_every_checkpoint_that_is_left_finds_its_guides(data, tmp_path):
    """Beside the newest, those of two best ones, which are replaced at times of their own."""
    cfg = run_config(data, tmp_path, with_17())
    hook = dict(guides='snapshots', interval=1, num_guides=1)
    cfg['custom_hooks'] = [{**HOOK, **hook}]
    cfg['train_cfg'] = dict(by_epoch=True, max_epochs=6, val_interval=1)
    cfg['default_hooks']['checkpoint'].update(
        max_keep_ckpts=1, save_best=['EPE', 'coco/AP'], rule=['less', 'greater']
    )
    train(cfg)
    left = [p for p in tmp_path.glob('*.pth') if not p.name.startswith('dskd_')]
    needed = {guide['file'] for p in left for guide in saved(p)['dskd']['guides']}
    assert {p.name for p in tmp_path.glob('dskd_*.pth')} == needed
    assert len(left) > 1


# ------------------------------------------------------------------- other models


def simcc(data_config):
    """A SimCC student, and the run's pipeline with its targets."""
    codec = dict(
        type='SimCCLabel', input_size=(32, 64), sigma=2.0, simcc_split_ratio=2.0,
        use_dark=False,
    )  # fmt: skip
    head = dict(
        type='SimCCHead', in_channels=64, out_channels=17, input_size=(32, 64),
        in_featuremap_size=(1, 2), simcc_split_ratio=2.0, deconv_out_channels=None,
        loss=dict(type='KLDiscretLoss', use_target_weight=True), decoder=codec,
    )  # fmt: skip
    data_config['model']['head'] = head
    data_config['train_dataloader']['dataset']['pipeline'][-2]['encoder'] = codec


def coordinates(kind):
    def change(data_config):
        codec = dict(type='RegressionLabel', input_size=(32, 64))
        head = dict(type=kind, in_channels=64, num_joints=17, decoder=codec)
        if kind in ('IntegralRegressionHead', 'UnbiasedIntegralHead'):
            codec.update(type='IntegralRegressionLabel', heatmap_size=(8, 16), sigma=1.0)
            head.update(in_featuremap_size=(1, 2), deconv_out_channels=(8, 8, 8), beta=2.0)
        else:
            data_config['model']['neck'] = dict(type='GlobalAveragePooling')
        data_config['model']['head'] = head
        data_config['train_dataloader']['dataset']['pipeline'][-2]['encoder'] = codec

    return change


@pytest.mark.parametrize(
    'change',
    [simcc, *map(coordinates, ('RegressionHead', 'RLEHead', 'IntegralRegressionHead'))],
    ids=['SimCC', 'regression', 'RLE', 'integral'],
)
def test_students_without_heatmaps_are_guided_too(data, tmp_path, change):
    cfg = dskd_config(data, tmp_path, epochs=2, num_guides=1)
    change(cfg)
    runner, losses = train(cfg)
    kd = [value(step['loss_dskd_kd']) for step in losses.values()]
    assert kd[0] == 0 and 0 < kd[-1] < float('inf')
    assert hook_of(runner).gamma == 0
    with pytest.raises(ValueError, match=r'DSKDHook\.gamma=0\.1'):
        train({**cfg, 'custom_hooks': [{**HOOK, 'gamma': 0.1}]})
    with pytest.raises(ValueError, match=r"DSKDHook\.below_floor='skip'"):
        train({**cfg, 'custom_hooks': [{**HOOK, 'below_floor': 'skip'}]})


@pytest.mark.parametrize(('kind', 'weights'), [('heatmap', (3.0, 0.001)), ('simcc', (1.0, 0.0))])
def test_weights_that_are_not_given_are_those_for_the_students_output(
    data, tmp_path, kind, weights
):
    cfg = dskd_config(data, tmp_path, alpha=None)
    if kind == 'simcc':
        simcc(cfg)
    runner = make_runner(cfg)
    hook = hook_of(runner)
    hook.start(runner, length=6)
    assert (hook.alpha, hook.gamma) == weights


def distilled():
    return dict(
        type='PoseDistiller',
        student=with_17(),
        teachers=[dict(config=with_17(), checkpoint=None)],
        distill=[
            dict(
                loss=dict(type='KeypointMSELoss', use_target_weight=True),
                student='head.final_layer',
                teacher='head.final_layer',
            )
        ],
    )


def okdhp(**head):
    config = okdhp_config(RESNET, 'stage2', deploy_branch=1, **head)
    config['head']['head']['out_channels'] = 17
    return config


@pytest.mark.parametrize(
    ('model', 'head'),
    [(distilled, 'student.head'), (okdhp, 'head.branches.1.head')],
    ids=['PoseDistiller', 'OKDHP'],
)
def test_the_deployed_part_of_other_methods_is_guided_and_frozen(data, tmp_path, model, head):
    cfg = dskd_config(data, tmp_path / 'work', model=model(), epochs=2, num_guides=1)
    Config(cfg).dump(tmp_path / 'run.py')
    runner, losses = train(cfg)
    assert deployed_head(runner.model) == head
    assert value(losses[len(losses) - 1]['loss_dskd_kd']) > 0
    guide = saved(tmp_path / 'work/dskd_epoch_1.pth')['state_dict']
    assert guide.keys() == build(with_17()).state_dict().keys()
    export_student(tmp_path / 'run.py', tmp_path / 'work/epoch_1.pth', tmp_path / 'out')
    student = saved(tmp_path / 'out/student.pth')['state_dict']
    assert all(torch.equal(student[key], guide[key]) for key in guide)


def test_the_deployed_head_of_ocd_is_guided_and_frozen(data, tmp_path):
    model, plain = ocd_of('simcc'), plain_of('simcc')
    for head in (model['head']['deploy']['head'], model['head']['heatmap'], plain['head']):
        head['out_channels'] = 17
    cfg = dskd_config(data, tmp_path / 'work', model=model, epochs=2, num_guides=1)
    cfg['train_dataloader']['dataset']['pipeline'][-2]['encoder'] = codec_of('simcc')
    Config(cfg).dump(tmp_path / 'run.py')
    runner, losses = train(cfg)
    assert deployed_head(runner.model) == 'head.deploy.head'
    last = losses[len(losses) - 1]
    assert all(value(last[f'loss_{name}']) > 0 for name in ('kpt', 'heatmap', 'cross', 'dskd_kd'))
    guide = saved(tmp_path / 'work/dskd_epoch_1.pth')['state_dict']
    assert guide.keys() == build(plain).state_dict().keys()
    export_student(tmp_path / 'run.py', tmp_path / 'work/epoch_1.pth', tmp_path / 'out')
    student = saved(tmp_path / 'out/student.pth')['state_dict']
    assert all(torch.equal(student[key], guide[key]) for key in guide)


def test_of_a_stacked_hourglass_the_last_stage_is_guided():
    from mmpose_kd.models.heads.head_output import head_kind, read_output
    from mmpose_kd.models.listening import returned_by

    model = randomize(build(plain_config(HOURGLASS)))
    with returned_by(model.head) as caught:
        every = model.head.forward(model.extract_feat(images()))
    assert head_kind(model.head) == 'heatmap' and 'forward' not in vars(model.head)
    assert read_output('heatmap', caught[-1])[0] is every[-1]


def test_a_big_teacher_guides_from_the_start(data, tmp_path):
    big = with_17(dict(type='ResNet', depth=34, stem_channels=8, base_channels=8))
    torch.save({'state_dict': randomize(build(big)).state_dict()}, tmp_path / 'big.pth')
    teachers = [dict(config=big, checkpoint=str(tmp_path / 'big.pth'))]
    cfg = dskd_config(data, tmp_path / 'work', epochs=2, num_guides=1, teachers=teachers)
    runner, losses = train(cfg)
    assert min(value(step['loss_dskd_kd']) for step in losses.values()) > 0
    assert [guide.name for guide in hook_of(runner).bank.guides] == ['guide0', 'epoch_1']


# ------------------------------------------------------------------------ mistakes


def test_a_head_it_does_not_know_is_refused_before_the_first_step(data, tmp_path, monkeypatch):
    class OtherHead(MODELS.get('HeatmapHead')):
        def forward(self, feats):
            return super().forward(feats), None

    monkeypatch.setitem(MODELS.module_dict, 'OtherHead', OtherHead)
    model = with_17()
    model['head']['type'] = 'OtherHead'
    record = Record()
    runner = make_runner(dskd_config(data, tmp_path, model=model), record)
    with pytest.raises(ValueError, match=r'DSKDHook does not know .*OtherHead.*output_kind'):
        runner.train()
    assert record.losses == {}


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(guides='epochs'), r"guides='epochs'"),
        (dict(guides=[]), r'guides=\[\]'),
        (dict(guides='snapshots', redraw=True), r'redraw=True'),
        (dict(teachers=['a.pth']), r'teachers='),
        (dict(alpha=-1), r'alpha=-1'),
        (dict(gamma=float('nan')), r'gamma=nan'),
        (dict(keep_prob=0), r'keep_prob=0'),
        (dict(form='square'), r"form='square'"),
        (dict(threshold=0), r'threshold=0'),
        (dict(floor=0), r'floor=0'),
        (dict(below_floor='drop'), r"below_floor='drop'"),
        (dict(cls=dict(kappa=0)), r'cls\.kappa=0'),
        (dict(cls=dict(kapa=1)), r'cls=.*kapa'),
        (dict(cls_target='teacher'), r"cls_target='teacher'"),
        (dict(log_interval=0), r'log_interval=0'),
        (dict(seed='one'), r"seed='one'"),
        (dict(alpha='1'), r"alpha='1'"),
        (dict(keep_prob='1'), r"keep_prob='1'"),
        (dict(threshold='1'), r"threshold='1'"),
        (dict(floor='1'), r"floor='1'"),
        (dict(lengths=3), r'lengths=3'),
        (dict(alpha_schedule=dict(type='up')), r'alpha_schedule\.type'),
    ],
)
def test_a_bad_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=f'DSKDHook.{message}'):
        DSKDHook(**settings)


def test_two_of_it_in_one_run_are_refused(data, tmp_path):
    """As where a config adds it to those of a config that has it."""
    cfg = dskd_config(data, tmp_path, hooks=[HOOK])
    with pytest.raises(ValueError, match=r'DSKDHook stands 2 times'):
        train(cfg)


def test_a_head_that_does_not_run_its_forward_is_told(data, tmp_path, monkeypatch):
    class OwnWay(MODELS.get('HeatmapHead')):
        output_kind = 'heatmap'

        def loss(self, feats, samples, train_cfg=None):
            return {'loss_kpt': self.final_layer(self.deconv_layers(feats[-1])).mean()}

    monkeypatch.setitem(MODELS.module_dict, 'OwnWay', OwnWay)
    model = with_17()
    model['head']['type'] = 'OwnWay'
    with pytest.raises(ValueError, match=r'OwnWay\.loss\(\) does not call .*forward'):
        train(dskd_config(data, tmp_path, model=model))


def test_a_student_that_its_config_does_not_give_again_is_told_before_the_first_step(
    data, tmp_path
):
    record = Record()
    runner = make_runner(dskd_config(data, tmp_path), record)
    runner.model.backbone.extra = nn.Linear(1, 1)
    with pytest.raises(ValueError, match=r'(?s)DSKDHook.*model.*backbone\.extra'):
        runner.train()
    assert record.losses == {}


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(num_guides=6), r'num_guides=6: 6 epochs'),
        (dict(guides=['nowhere.pth']), r'guides\[0\].*nowhere\.pth'),
        (dict(teachers=[dict(config=plain_config(), checkpoint=None)]), r'teachers\[0\] has 5'),
    ],
)
def test_what_does_not_fit_is_told_before_the_first_step(data, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        train(dskd_config(data, tmp_path, **settings))


def test_a_lost_or_changed_guide_stops_the_resume(data, tmp_path):
    cfg = dskd_config(data, tmp_path, epochs=3)
    train(cfg)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    guide = tmp_path / 'dskd_epoch_1.pth'
    shutil.copy(guide, tmp_path / 'kept.pth')
    content = saved(guide)
    content['state_dict']['head.final_layer.bias'] += 1
    torch.save(content, guide)
    with pytest.raises(ValueError, match=r'dskd_epoch_1\.pth is not the guide'):
        train(cfg, resume=True)
    guide.unlink()
    runner = make_runner(cfg, resume=True)
    with pytest.raises(ValueError, match=r'dskd_epoch_1\.pth is needed to resume'):
        runner.train()
    shutil.copy(tmp_path / 'kept.pth', guide)
    runner.train()  # found, in the same process
    assert [guide.name for guide in hook_of(runner).bank.guides] == ['epoch_1', 'epoch_2']
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    with pytest.raises(ValueError, match=r"had 'generations', the config asks for 'snapshots'"):
        changed = copy.deepcopy(cfg)
        changed['custom_hooks'][-1].update(guides='snapshots', interval=1)
        train(changed, resume=True)


# -------------------------------------------------------------------------- export


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


# ------------------------------------------------------------------- two processes

DDP = """
import os, sys
from pathlib import Path
import torch
sys.path[:0] = {paths!r}
from dskd_runs import dskd_config, hook_of, make_runner
from build import build, randomize
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import nn

rank, world = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
seen = dict(gradients=[], kept=[])


class Look(Hook):
    priority = 'VERY_LOW'

    def before_train_epoch(self, runner):
        runner.model.train = lambda mode=True: runner.model  # norm layers stay in evaluation mode

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        hook = hook_of(runner)
        plain = type(hook)._kept_guides
        def keep():
            guides = plain(hook)
            seen['kept'].append([guide.name for guide in guides])
            return guides
        hook._kept_guides = keep


cfg = dskd_config(Path({data!r}), {work!r} + str(world), epochs=4, keep_prob=0.5,
                  guides={guides!r}, log_interval=1)
cfg['custom_hooks'] = cfg['custom_hooks'][-1:]
cfg['train_dataloader']['batch_size'] = 8 // world
cfg['train_dataloader']['sampler']['shuffle'] = False
cfg['train_dataloader']['dataset']['indices'] = 8  # one step an epoch, no sample twice
# without random pictures: the same ones in one process and in two
cfg['train_dataloader']['dataset']['pipeline'][2:4] = []
cfg['optim_wrapper']['optimizer'] = dict(type='SGD', lr=0.0)
if world > 1:
    torch.distributed.init_process_group('gloo')
    cfg['launcher'] = 'pytorch'
    cfg['model_wrapper_cfg'] = dict(
        type='MMDistributedDataParallel', broadcast_buffers=False, device_ids=None)
runner = make_runner(cfg, Look())
model = runner.model.module if is_model_wrapper(runner.model) else runner.model
model.load_state_dict(torch.load({guides!r}[0])['state_dict'])
model._is_init = True
model.init_weights = lambda: None
model.eval()
step = runner.model.train_step
def train_step(data, optim_wrapper):
    with optim_wrapper.optim_context(runner.model):
        data = model.data_preprocessor(data, True)
        loss, _ = model.parse_losses(runner.model._run_forward(data, mode='loss'))
    model.zero_grad()
    loss.backward()
    seen['gradients'].append({{n: p.grad.clone() for n, p in model.named_parameters()}})
    return dict(loss=loss)
runner.model.train_step = train_step
runner.train()
if rank == 0:
    torch.save(seen, {work!r} + str(world) + '.pth')
everyone = [None] * world
if world > 1:
    torch.distributed.all_gather_object(everyone, seen['kept'])
    assert everyone[0] == everyone[1]
sys.stdout.write(f'SAME {{rank}}\\n')
"""


def test_two_processes_draw_the_same_guides_and_get_the_gradients_of_one(data, tmp_path):
    guides = []
    for seed in range(3):
        guides.append(str(tmp_path / f'{seed}.pth'))
        model = randomize(build(with_17()), seed)
        torch.save({'state_dict': model.state_dict()}, guides[-1])
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    (tmp_path / 'ddp.py').write_text(
        DDP.format(paths=paths, data=str(data), work=str(tmp_path / 'work'), guides=guides)
    )
    torchrun = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    env = {**os.environ, 'OMP_NUM_THREADS': '1'}
    for command in ([], torchrun):
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', *command, str(tmp_path / 'ddp.py')],
            capture_output=True, text=True, env=env, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        assert 'SAME 0' in done.stdout
    assert 'SAME 1' in done.stdout
    one, two = (torch.load(tmp_path / f'work{world}.pth') for world in (1, 2))
    assert one['kept'] == two['kept'] and len({tuple(kept) for kept in one['kept']}) > 1
    assert len(one['gradients']) == len(two['gradients']) >= 4
    for a, b in zip(one['gradients'], two['gradients']):
        for name in a:
            assert (b[name] - a[name]).abs().max() <= 1e-5 * a[name].abs().max(), name


def test_the_guides_do_not_outlive_the_run(data, tmp_path):
    runner, _ = train(dskd_config(data, tmp_path, epochs=2, num_guides=1))
    model = runner.model
    del runner
    gc.collect()
    reached = [m for m in model.modules() if isinstance(m, nn.Module)]
    assert len(reached) == len(list(build(with_17()).modules()))
