"""NaN and infinity in frozen models and distillation losses are refused by name, or skipped."""

import logging
import multiprocessing

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmpose.registry import MODELS
from torch import nn

from mmpose_kd.core import finite
from mmpose_kd.core.finite import LossGuard, NonFiniteError, check_outputs, check_weights
from mmpose_kd.distiller.cache import CacheKey, TeacherCache

from ..helpers.distillers import MSE, distiller, distiller_config, gradients, untrained
from ..helpers.dskd_runs import Record, dskd_config, make_runner, with_17
from ..helpers.models import (
    HRNET,
    RESNET,
    build,
    images,
    okdhp_config,
    plain_config,
    samples,
    total,
)
from ..helpers.ocd import ocd_of
from ..helpers.ocd import samples as samples_of_two
from ..helpers.runs import draw, run_config

pytestmark = pytest.mark.reliability

NAN, INF = float('nan'), float('inf')
each_value = pytest.mark.parametrize('value', [NAN, INF, -INF])


@MODELS.register_module()
class TurnsOddLoss(nn.Module):
    """A mean squared error that is ``value`` times itself at its n-th call."""

    def __init__(self, value=NAN, at=1):
        super().__init__()
        self.value, self.at, self.calls = value, at, 0

    def forward(self, student, teacher, target_weight):
        self.calls += 1
        loss = (student - teacher).square().mean()
        return loss * self.value if self.calls == self.at else loss


@pytest.fixture
def warned(monkeypatch):
    lines = []

    def keep(text, logger=None, level=None):
        lines.append(text) if level == logging.WARNING else None

    monkeypatch.setattr('mmpose_kd.core.finite.print_log', keep)
    return lines


@pytest.fixture(scope='session')
def drawn(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


# ---------------------------------------------------------------------- frozen weights


@each_value
@pytest.mark.parametrize('name', ['weight', 'running_var'])
def test_a_weight_or_buffer_that_is_not_finite_is_named(name, value):
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    model.state_dict()[f'1.{name}'][1] = value
    with pytest.raises(
        NonFiniteError, match=rf'here: 1 of 6 weights.*1.{name} \(1 of 2 values\): do'
    ):
        check_weights(model, 'here', 'do')


def test_a_mask_that_is_not_saved_may_be_infinite():
    model = nn.Linear(2, 2)
    model.register_buffer('mask', torch.full((2,), -INF), persistent=False)
    check_weights(model, 'here', 'do')


def test_finite_outputs_pass_and_others_are_counted():
    check_outputs({'a': torch.zeros(2)}, 'here', 'do')
    with pytest.raises(NonFiniteError, match='here: b has 1 of 3 values that are not finite: do'):
        check_outputs({'a': torch.zeros(2), 'b': torch.tensor([0, NAN, 1])}, 'here', 'do')


def write_teacher(path, value=NAN, name='backbone.conv1.weight'):
    state = build(plain_config(RESNET)).state_dict()
    state[name].view(-1)[0] = value
    torch.save({'state_dict': state, 'meta': {}}, path)
    return str(path)


@each_value
@pytest.mark.parametrize('name', ['backbone.conv1.weight', 'backbone.bn1.running_mean'])
def test_a_teachers_checkpoint_is_refused_when_it_is_read(tmp_path, name, value):
    file = write_teacher(tmp_path / 'a.pth', value, name)
    teachers = [dict(config=plain_config(RESNET), checkpoint=file)]
    with pytest.raises(NonFiniteError, match=rf'teachers\[0\].checkpoint=.*a.pth.*{name}'):
        build(distiller_config(teachers=teachers))


def test_a_weight_that_half_precision_cannot_hold_is_refused(tmp_path):
    file = write_teacher(tmp_path / 'a.pth', 1e6)
    teacher = dict(config=plain_config(RESNET), checkpoint=file)
    build(distiller_config(teachers=[teacher]))
    with pytest.raises(NonFiniteError, match=r'teachers\[0\].*run as float16.*conv1.weight'):
        build(distiller_config(teachers=[{**teacher, 'dtype': 'float16'}]))


# ---------------------------------------------------------------------- frozen outputs


def odd_teacher(value=NAN):
    """A distiller whose teacher's weights became odd after they were read."""
    model = distiller()
    model.teachers[0].model.head.final_layer.bias.data[0] = value
    return model


@each_value
def test_a_teachers_output_is_refused_before_the_first_step(value):
    with pytest.raises(
        NonFiniteError, match=r"model.teachers\[0\]: its output 'head.final_layer'"
    ):
        odd_teacher(value).loss(images(), samples())


def keyed():
    batch = samples()
    for n, sample in enumerate(batch):
        sample.set_metainfo(dict(augmentation=(f'person {n}', 0), picture=n))
    return batch


def test_a_cached_teachers_output_is_refused_before_it_is_stored(tmp_path):
    model = odd_teacher()
    cache = model.teachers[0].cache = TeacherCache(tmp_path / 'a.sqlite', {})
    with pytest.raises(NonFiniteError, match=r'model.teachers\[0\]: its output'):
        model.loss(images(), keyed())
    assert cache.num_written == 0


def test_a_later_output_of_a_cached_teacher_is_refused_as_well(tmp_path):
    cache = TeacherCache(tmp_path / 'a.sqlite', {})
    with pytest.raises(ValueError, match="'x' of the teacher cannot be stored: 1 of 2 values"):
        cache.outputs(
            [CacheKey('a', 0, 0)], ['x'], lambda _: [torch.tensor([[NAN, 1]])], torch.device('cpu')
        )


# ---------------------------------------------------------------------- losses


@each_value
def test_a_loss_that_is_not_finite_stops_with_its_name(value):
    model = distiller(dict(loss=dict(type='TurnsOddLoss', value=value, at=2), name='soft'))
    model.loss(images(), samples())
    with pytest.raises(
        NonFiniteError, match=r"loss_soft is (nan|inf|-inf).*model.non_finite='skip'"
    ):
        model.loss(images(), samples())


def test_the_message_tells_whose_output_is_not_finite():
    model = distiller()
    model.loss(images(), samples())
    model.teachers[0].model.head.final_layer.bias.data[0] = NAN
    with pytest.raises(NonFiniteError, match=r"teachers\[0\] 'head.final_layer' has 256 of 1280"):
        model.loss(images(), samples())


def test_a_skipped_loss_leaves_the_plain_step(warned):
    config = distiller_config(
        dict(loss=dict(type='TurnsOddLoss'), adapter=dict(type='Conv2d', in_channels=5,
             out_channels=5, kernel_size=1), name='soft'),
        dict(loss=MSE, name='other'),
        non_finite='skip',
    )  # fmt: skip
    model = build(config).train()
    without = build(distiller_config(dict(loss=MSE, name='other'))).train()
    without.student.load_state_dict(model.student.state_dict())
    without.teachers[0].model.load_state_dict(model.teachers[0].model.state_dict())
    losses = model.loss(images(), samples())
    assert losses['loss_soft'] == 0 and losses['skipped'] == 1
    found = gradients(model, losses)
    wanted = gradients(without, without.loss(images(), samples()))
    for name, gradient in wanted.items():
        assert torch.equal(found[name], gradient)
    assert torch.equal(found['distill.0.adapter.weight'], torch.zeros(5, 5, 1, 1))
    assert len(warned) == 1 and 'loss_soft is nan' in warned[0]
    again = model.loss(images(), samples())
    assert again['skipped'] == 1 and again['loss_soft'] > 0


def test_nothing_is_changed_while_all_is_finite():
    plain, guarded = distiller(), distiller()
    guarded.guard = lambda *_: None
    one, two = (m.loss(images(), samples()) for m in (plain, guarded))
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
    ours, theirs = gradients(plain, one), gradients(guarded, two)
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)


def test_off_the_cpu_it_stops_at_the_end_of_the_backward_pass(monkeypatch):
    """Nothing waits for the device in the forward pass, and no step is taken."""
    monkeypatch.setattr(finite, 'AT_ONCE', ())
    model = distiller(dict(loss=dict(type='TurnsOddLoss', at=2), name='soft'))
    total(model.loss(images(), samples())).backward()
    losses = model.loss(images(), samples())
    with pytest.raises(NonFiniteError, match='loss_soft is nan'):
        total(losses).backward()
    with torch.no_grad():
        model.loss(images(), samples())


def test_a_guard_reads_no_value_of_a_device():
    loss = torch.ones((), device='meta', requires_grad=True)
    LossGuard('stop', 'model')({'loss_a': loss}, ['loss_a'], loss, lambda _: 0.0)


def guarded(losses, own=0.0, how='stop'):
    losses = {name: torch.as_tensor(value) for name, value in losses.items()}
    LossGuard(how, 'model')(losses, list(losses), torch.tensor(own), lambda _: 0.0)
    return losses


def test_a_loss_may_have_several_values():
    guarded({'loss_a': torch.ones(2, 3), 'loss_b': torch.ones(())})
    with pytest.raises(NonFiniteError, match='loss_a is nan'):
        guarded({'loss_a': torch.tensor([1.0, NAN]), 'loss_b': torch.ones(())})


def test_a_loss_of_several_values_is_skipped_whole(warned):
    values = torch.tensor([1.0, NAN])
    losses = guarded({'loss_a': values, 'loss_b': torch.ones(())}, how='skip')
    assert losses['loss_a'].tolist() == [0, 0] and losses['loss_b'] == 1
    assert losses['skipped'] == 1 and 'loss_a is nan' in warned[0]


def test_in_mixed_precision_a_step_that_overflows_by_itself_is_the_scalers(monkeypatch):
    with pytest.raises(NonFiniteError):
        guarded({'loss_a': INF}, own=INF)
    monkeypatch.setattr(torch, 'is_autocast_enabled', lambda: True)
    guarded({'loss_a': INF}, own=INF)
    with pytest.raises(NonFiniteError):
        guarded({'loss_a': INF}, own=1.0)


def answer(rank, file, answers):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{file}', rank=rank, world_size=2
    )
    values = finite.over_processes(torch.tensor([1.0, 1.0 if rank == 0 else float('nan')]))
    answers.put(values.isfinite().tolist())


def test_all_processes_hear_of_a_loss_that_one_has(tmp_path):
    fork = multiprocessing.get_context('fork')
    answers = fork.Queue()
    processes = [fork.Process(target=answer, args=(n, tmp_path / 'a', answers)) for n in (0, 1)]
    for process in processes:
        process.start()
    assert [answers.get(timeout=100) for _ in processes] == [[True, False]] * 2
    for process in processes:
        process.join()


@pytest.mark.parametrize('how', ['Stop', None, True, 'ignore', ['skip']])
def test_the_setting_is_one_of_two(how):
    for config, key in (
        (distiller_config(non_finite=how), 'model.non_finite'),
        (okdhp_config(non_finite=how), 'head.non_finite'),
        (ocd_of('regression', non_finite=how), 'head.non_finite'),
    ):
        with pytest.raises(ValueError, match=f"{key}=.*'stop', 'skip'"):
            build(config)


@pytest.mark.parametrize('name', ['loss_ensemble', 'loss_kd'])
@pytest.mark.parametrize('how', ['stop', 'skip'])
def test_okdhp_stops_or_skips(name, how):
    model = build(okdhp_config(kd_loss=dict(type='TurnsOddLoss'), non_finite=how)).train()
    if name == 'loss_ensemble':
        model.head.ensemble_weight = INF
    if how == 'stop':
        with pytest.raises(NonFiniteError, match=name):
            model.loss(images(), samples())
        return
    losses = model.loss(images(), samples())
    assert losses[name] == 0 and losses['skipped'] >= 1
    total(losses).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize('how', ['stop', 'skip'])
def test_ocd_stops_or_skips(how):
    model = build(ocd_of('simcc', non_finite=how)).train()
    model.head.cross.loss_weight = NAN
    if how == 'stop':
        with pytest.raises(NonFiniteError, match='loss_cross is nan'):
            model.loss(images(), samples_of_two('simcc'))
        return
    losses = model.loss(images(), samples_of_two('simcc'))
    assert losses['loss_cross'] == 0 and losses['skipped'] == 1
    total(losses).backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)
    for learning in (model.backbone.conv1.weight, model.head.heatmap.final_layer.weight):
        assert learning.grad.abs().sum() > 0


# ---------------------------------------------------------------------- whole runs


class Break(Hook):
    """Puts a value into the student before a step."""

    def __init__(self, at):
        self.at = at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.at:
            next(runner.model.parameters()).data.view(-1)[0] = NAN


def distilled_run(drawn, folder, **settings):
    cfg = run_config(drawn, folder, with_17())
    model = distiller_config(
        dict(loss=dict(type='TurnsOddLoss', at=3), name='soft'),
        student=with_17(), teachers=[untrained(with_17())], **settings,
    )  # fmt: skip
    cfg.update(model=model, custom_hooks=[])
    for key in [k for k in cfg if k.startswith(('val_', 'test_'))]:
        del cfg[key]
    cfg['default_hooks']['checkpoint'] = dict(type='CheckpointHook', interval=1)
    return cfg


def test_a_run_stops_before_the_weights_are_harmed(drawn, tmp_path):
    runner = make_runner(distilled_run(drawn, tmp_path))
    with pytest.raises(NonFiniteError, match='loss_soft is nan in iteration 3'):
        runner.train()
    assert all(p.isfinite().all() for p in runner.model.parameters())


def test_a_run_that_skips_ends_and_tells_how_often(drawn, tmp_path):
    record = Record()
    runner = make_runner(distilled_run(drawn, tmp_path, non_finite='skip'), record)
    runner.train()
    assert all(p.isfinite().all() for p in runner.model.parameters())
    assert runner.message_hub.get_scalar('train/skipped').current() == 1
    assert record.losses[2]['loss_soft'] == (0.0).hex() != record.losses[1]['loss_soft']


def test_dskd_makes_no_guide_of_a_student_that_is_not_finite(drawn, tmp_path):
    cfg = dskd_config(drawn, tmp_path, epochs=3, guides='snapshots', interval=1, gamma=0)
    with pytest.raises(NonFiniteError, match=r'DSKDHook \(epoch_1\): .* of .* weights'):
        make_runner(cfg, Break(at=1)).train()


def test_dskd_refuses_a_given_guide_that_is_not_finite(drawn, tmp_path):
    state = build(with_17()).state_dict()
    state['head.final_layer.bias'][3] = INF
    torch.save({'state_dict': state}, tmp_path / 'guide.pth')
    cfg = dskd_config(drawn, tmp_path, guides=[str(tmp_path / 'guide.pth')])
    with pytest.raises(NonFiniteError, match=r'guides\[0\].checkpoint=.*final_layer.bias'):
        make_runner(cfg).train()


@pytest.mark.parametrize('how', ['stop', 'skip'])
def test_dskd_stops_or_skips(drawn, tmp_path, how, monkeypatch):
    torch.save({'state_dict': build(with_17(), seed=1).state_dict()}, tmp_path / 'guide.pth')
    cfg = dskd_config(drawn, tmp_path, guides=[str(tmp_path / 'guide.pth')], epochs=1,
                      non_finite=how)  # fmt: skip
    monkeypatch.setattr('mmpose_kd.dskd.hook.dense_guidance', lambda each: sum(each) * np.nan)
    runner = make_runner(cfg)
    if how == 'stop':
        with pytest.raises(NonFiniteError, match='loss_dskd_kd is nan in iteration 1'):
            runner.train()
        return
    runner.train()
    assert runner.message_hub.get_scalar('train/skipped').current() == runner.max_iters


def test_a_guide_that_puts_out_infinity_is_refused(drawn, tmp_path):
    model = with_17(HRNET)
    model['data_preprocessor']['std'] = [0.0, 1.0, 1.0]
    guide = dict(config=model, checkpoint=None)
    cfg = dskd_config(drawn, tmp_path, guides=[guide], epochs=1)
    with pytest.raises(NonFiniteError, match=r'guides\[0\]: its output .*std of 0'):
        make_runner(cfg).train()
