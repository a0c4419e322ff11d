"""What the speed benchmark counts is what it says; no test asks how fast anything is."""

import re
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpose.registry import MODELS

from mmpose_kd.losses.joints_mse import JointsMSELoss

from ..helpers import ROOT
from ..helpers.configs import shrunk
from ..helpers.models import RESNET, SIZE, okdhp_config
from ..helpers.ocd import batch_of, codec_of, ocd_of

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.speed import __main__ as command
from benchmarks.speed import (
    distiller,
    dskd,
    fau,
    grouped,
    hhd,
    losses,
    memory,
    methods,
    ocd,
    step,
    student,
    timing,
)
from benchmarks.speed.launches import Launches
from benchmarks.speed.models import (
    RELEASED,
    TASK_ONLY,
    Network,
    build,
    hourglass,
    random_batch,
    shipped,
    step_of,
)
from benchmarks.speed.timing import Bench, Times

#: of docs/performance.md
OWN_OPERATORS = {
    'okdhp_hrnet_coco': 128,
    'okdhp_mobilenetv2_mpii': 105,
    'okdhp_hourglass4_mpii': 233,
    'hhd_mobilenetv2_mpii': 101,
    'hhd_litehrnet18_coco': 101,
    'ocd_deeppose_res50_coco': 36,
    'ocd_rtmpose-s_coco': 44,
    'tcd_deeppose_res50_coco': 43,
    'dskd_mobilenetv2_mpii': 71,
    'dwpose_rtmpose-m_coco-wholebody': 56,
    'pkd_mobilenetv2_coco': 46,
}

BENCH = Bench(rounds=1)
TWICE = Bench(rounds=2)


@pytest.fixture
def small():
    """A ResNet of 8 channels, cut before its last stage."""
    return Network(okdhp_config(RESNET, 'stage3'), batch=2)


@pytest.fixture
def small_configs(monkeypatch):
    """The shipped configs are read with fewer layers and a smaller picture."""
    whole = Config.fromfile
    monkeypatch.setattr(Config, 'fromfile', staticmethod(lambda path: shrunk(whole(path))))


def cells(markdown):
    """The rows of a table, by the first cell."""
    lines = [line for line in markdown.splitlines() if line.startswith('| ')]
    return {
        row[0]: row[1:]
        for row in ([c.strip() for c in s.strip('|').split('|')] for s in lines[2:])
    }


# ------------------------------------------------------------------------------------ timing


def test_candidates_take_turns_and_are_warm():
    calls = []
    times = TWICE.interleaved({name: lambda n=name: calls.append(n) for name in 'ab'}, repeats=2)
    assert ''.join(calls) == 'ab' + 'aabb' + 'bbaa'
    assert {name: len(seconds) for name, seconds in times.seconds.items()} == {'a': 2, 'b': 2}


def test_a_candidate_can_settle_before_it_is_measured(monkeypatch):
    calls = []
    monkeypatch.setitem(timing.CLOCKS, 'wall', lambda: calls.append('|') or 0.0)
    BENCH.interleaved({'a': lambda: calls.append('a')}, settle=True)
    assert ''.join(calls) == 'a' + 'a|a|'


def test_a_time_is_of_one_call(monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setitem(timing.CLOCKS, 'wall', lambda: next(ticks))
    times = BENCH.interleaved({'a': lambda: None}, repeats=4)
    assert times.seconds == {'a': [0.25]}


def test_a_ratio_is_the_median_over_the_rounds():
    # the machine was busy with other things in the last round, for both
    times = Times({'a': [2.0, 3.0, 20.0], 'b': [1.0, 1.0, 10.0]})
    assert times.ratio('a', 'b') == 2.0
    assert times.spread('a', 'b') == '2.00 to 3.00'
    assert times.ms('a') == 3000


def test_the_cpu_clock_does_not_count_what_others_compute():
    times = Bench(rounds=1, clock='cpu').interleaved({'sleep': lambda: time.sleep(0.1)})
    assert times.seconds['sleep'][0] < 0.1


# ------------------------------------------------------------------------------------ models


def test_the_plain_model_is_the_one_that_is_deployed(small):
    plain, ours = build(small.plain()), build(small.okdhp())
    names = ours.head.deployed().state_dict(ours.state_dict())
    assert {k: v.shape for k, v in names.items()} == {
        k: v.shape for k, v in plain.state_dict().items()
    }


def test_task_losses_alone_are_just_those(small):
    model = build(small.okdhp(**TASK_ONLY))
    found = model.loss(*random_batch(small))
    assert {name for name in found if 'loss' in name} == {
        'loss_kpt', 'loss_kpt_branch1', 'loss_kpt_branch2'
    }  # fmt: skip
    assert model.head.fau is None


def test_as_released_is_the_released_preset_and_fau(small):
    head = build(small.okdhp(**RELEASED)).head
    assert not head.detach_ensemble
    assert head.fau.form == 'released'
    assert isinstance(head.branches[0].head.loss_module, JointsMSELoss)


def test_a_step_leaves_the_gradients_of_one_batch(small, monkeypatch):
    made = []
    monkeypatch.setattr(
        'benchmarks.speed.models.build', lambda *args: made.append(build(*args)) or made[0]
    )
    run = step_of(small, small.plain())
    run()
    first = [p.grad.clone() for p in made[0].parameters()]
    run()
    assert all(torch.allclose(a, p.grad) for a, p in zip(first, made[0].parameters()))


def test_the_networks_of_the_tables_are_there():
    assert hourglass().codec['heatmap_size'] == (64, 64)
    assert hourglass(4).okdhp()['head']['split'] == 'stack2'
    assert hourglass().okdhp('stem')['backbone']['split'] == 'stem'
    for name, branches in (('okdhp_res18_mpii', 2), ('okdhp_hrnet_coco', 3)):
        assert shipped(name).okdhp()['head']['num_branches'] == branches


# ------------------------------------------------------------------------------------ tables


@pytest.mark.slow
def test_unshared_branches_cost_three_times_the_arithmetic(small):
    rows = cells(step.step_table(BENCH, small))
    assert rows[step.PLAIN][1] == '1.00'
    work = {name: float(row[-1]) for name, row in rows.items()}
    assert work[step.PLAIN] == 1
    light = '3 unshared branches, light FAU'
    assert 1 < work['half shared, light FAU'] < work[light] < 3
    assert work[light] < work['3 unshared branches, as released']


def test_the_overhead_is_in_percent(small):
    [row] = cells(step.overhead_table(BENCH, {'small': small})).values()
    assert row[2].endswith(' %')


def test_every_form_of_the_fau_is_measured(small):
    rows = cells(fau.fau_table(BENCH, small))
    assert list(rows) == ['light', 'released', 'paper']
    assert float(rows['light'][0]) < float(rows['released'][0]) < float(rows['paper'][0])


def test_macs_of_the_fau_are_counted():
    released = MODELS.build(
        dict(type='FAU', form='released', in_channels=4, num_keypoints=5, num_branches=3)
    )
    convs = 4 * 4 * (9 + 25 + 49) * 8 * 8
    counted = fau.forward_macs(released, torch.zeros(1, 4, 8, 8), torch.zeros(1, 3, 5, 8, 8))
    linear = 4 * 64 + 64 * 3 * 5
    weighing = 3 * 5 * 8 * 8
    assert counted == convs + linear + weighing


def test_given_heatmaps_are_not_computed_again(small, monkeypatch):
    run = losses.losses_of(small, 'cpu', fau=None)
    monkeypatch.setattr(torch.nn.functional, 'conv2d', lambda *_: pytest.fail('a convolution'))
    monkeypatch.setattr(torch.nn.Conv2d, 'forward', lambda *_: pytest.fail('a convolution'))
    run()


def test_losses_are_compared_with_the_task_losses(small):
    rows = cells(losses.losses_table(BENCH, small))
    assert rows[losses.ALONE][1] == '1.00'
    assert len(rows) == 4


def test_the_student_has_the_plain_models_parameters_and_macs(small):
    [row] = cells(student.student_table(BENCH, {'small': small})).values()
    parameters = sum(p.numel() for p in build(small.plain()).parameters())
    assert row[0] == f'1.00 ({parameters:,})'
    assert row[1].startswith('1.00 (')


def test_peak_memory_is_what_lives_at_one_time():
    size = 2**20

    def run():
        for _ in range(3):
            first = torch.ones(size)  # 4 MiB, freed in every turn
            second = first + 1  # 4 MiB more
            del first, second

    assert 2 * 4 * size <= memory.peak_bytes(run, BENCH) < 2 * 4 * size + 2**16


def test_tensors_of_an_earlier_measurement_do_not_count_when_they_go():
    kept = []
    size = 2**20
    memory.peak_bytes(lambda: kept.append(torch.ones(size)), BENCH)

    def run():
        kept.clear()
        torch.ones(size // 2)

    assert 2 * size <= memory.peak_bytes(run, BENCH) < 2 * size + 2**16


@pytest.mark.slow
def test_checkpointing_takes_less_memory_than_keeping_everything(small):
    rows = cells(memory.memory_table(BENCH, {'small': small}).replace('| small | ', '| '))
    assert rows['plain'][1] == '1.00'
    peaks = {name: float(row[0]) for name, row in rows.items()}
    assert peaks['plain'] <= peaks['OKDHP, with_cp'] <= peaks['OKDHP']


def test_three_layers_are_compared_with_one_grouped():
    [row] = cells(grouped.grouped_table(BENCH, {'small': (4, 8, 8)})).values()
    assert row[0] == '4 x 8 x 8'
    assert float(row[3]) > 0


# ----------------------------------------------------------------------------------- command


def test_the_command_prints_and_writes_the_same(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(command.TABLES, 'step', lambda bench: f'## step {bench.rounds}\n')
    with pytest.raises(SystemExit, match='methods is in milliseconds'):
        command.main(['--only', 'methods', '--clock', 'operators'])
    command.main(['--only', 'step', '--rounds', '2', '--out', str(tmp_path / 'new' / 'speed.md')])
    printed = capsys.readouterr().out
    assert printed == (tmp_path / 'new' / 'speed.md').read_text()
    assert f'torch {torch.__version__}' in printed
    assert '2 rounds' in printed
    assert '## step 2' in printed


@pytest.mark.parametrize('rounds', ['0', '-1', 'many'])
def test_rounds_are_above_zero(rounds, capsys):
    with pytest.raises(SystemExit):
        command.main(['--rounds', rounds])
    assert 'is not a whole number above 0' in capsys.readouterr().err


# ----------------------------------------------------------------- teacher to student


@pytest.mark.parametrize('size', [(8, 8), (16, 12), (20, 24)])
def test_the_loop_that_hhd_is_measured_against_computes_the_same(size):
    maps = hhd.maps(3, *size)
    fast = MODELS.build(dict(type='HHDLoss', **hhd.RELEASED))
    values, gradients = [], []
    for loss in (fast, hhd.loop_released):
        hhd.both_ways(loss, *maps)()
        gradients.append(maps[0].grad)
        values.append(loss(*maps))
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients)


@pytest.mark.slow
def test_the_hhd_table_has_a_row_for_each_form_and_size():
    rows = cells(hhd.hhd_table(BENCH, sizes=((16, 12), (16, 16)), batch=2))
    assert len(rows) == 8
    assert rows[f'{hhd.LOOP}, 16 x 12'][1] == '1.000'
    assert all(row[3].endswith('%') for row in rows.values())


@pytest.mark.slow
def test_mmposes_distiller_is_measured_on_the_same_losses():
    cfg = distiller.offline('dwpose_rtmpose-m_coco-wholebody')
    images, samples = distiller.batch_of(cfg, 2, 'cpu')
    ours, theirs = build(cfg.model), distiller.mmpose_dwpose(cfg, 'cpu')
    ours.init_weights()
    theirs.student.load_state_dict(ours.student.state_dict())
    theirs.teacher.load_state_dict(ours.teachers[0].model.state_dict())
    theirs.distill_losses['loss_fea'].align.load_state_dict(
        ours.distill[0].adapter.state_dict()
    )  # fmt: skip
    theirs.teacher.eval()
    torch.manual_seed(0)
    one = ours.loss(images, samples)
    torch.manual_seed(0)
    two = theirs.loss(images, samples)
    for our_key, key in (('loss_feature', 'loss_fea'), ('loss_logit', 'loss_logit')):
        torch.testing.assert_close(one[our_key], two[key])


def test_the_cached_step_does_not_run_the_teacher(tmp_path):
    cfg = shrunk(distiller.offline('hhd_mobilenetv2_coco'))
    cfg.model.teachers[0].config = cfg.model.student  # small, and any model can teach itself
    entry = cfg.model.distill[0]
    entry.teacher = entry.student
    images, samples = distiller.batch_of(cfg, 2, 'cpu')
    model = build(cfg.model)
    model.init_weights()
    cache = distiller.TeacherCache(tmp_path / 'teacher.sqlite', {})
    run = distiller.cached(model, images, samples, cache)
    run()
    model.teachers[0].outputs = None  # from here on it cannot be run
    run()
    assert (cache.num_computed, cache.num_read) == (2, 2)
    assert model.teachers[0].cache is None


@pytest.mark.slow
def test_the_distiller_table_names_its_parts():
    dwpose = 'dwpose_rtmpose-m_coco-wholebody'
    rows = cells(distiller.distiller_table(BENCH, names=[dwpose], batch=2))
    assert rows[distiller.PARTS][1] == '1.000'
    assert {'PoseDistiller', "MMPose's DWPoseDistiller", 'student step'} <= rows.keys()


@pytest.mark.slow
def test_the_step_with_guides_is_compared_with_its_parts(small_configs):
    names = ['dskd_mobilenetv2_mpii']
    rows = cells(dskd.dskd_table(BENCH, names=names, batch=2, guides=(1, 2)))
    assert rows[dskd.PLAIN][1] == '1.000'
    assert {'guide forward', dskd.parts(2), 'DSKD, 1 guides', 'DSKD, 2 guides'} <= rows.keys()
    # guides keep no graph: more of them do not need more memory than one of them
    peaks = [float(rows[name][4]) for name in ('DSKD, 1 guides', 'DSKD, 2 guides')]
    assert max(peaks) < 1.02 * float(rows[dskd.PLAIN][4])


def small_ocd(kind):
    """A model with OCD, its batch, and the stock model under it with the same weights."""
    config = ocd_of(kind)
    model = build(config)
    found = model.head.deployed()
    plain = build(found.config(config))
    plain.load_state_dict(found.state_dict(model.state_dict()), strict=True)
    images = torch.randn(2, 3, SIZE[1], SIZE[0])
    return model, plain, images, batch_of(codec_of(kind))


@pytest.mark.parametrize('kind', ['regression', 'simcc'])
def test_the_parts_of_ocd_are_its_losses_without_balance_and_cross_loss(kind):
    model, plain, images, samples = small_ocd(kind)
    ocd.two_losses(plain, model.head.heatmap, images, samples)()
    heads = {name: p.grad.clone() for name, p in model.head.heatmap.named_parameters()}
    model.head.balance = None
    model.head.cross_weight = 0.0
    ocd.step(model, images, samples)()
    found = model.head.deployed().state_dict(dict(model.named_parameters()))
    for name, p in plain.named_parameters():
        torch.testing.assert_close(found[name].grad, p.grad)
    for name, p in model.head.heatmap.named_parameters():
        torch.testing.assert_close(p.grad, heads[name])


def test_a_step_of_ocd_measures_and_teaches_only_where_its_name_says_so():
    model, _, images, samples = small_ocd('simcc')
    measured, crossed = [], []
    measure, cross = model.head.balance._measure, model.head.cross.forward
    model.head.balance._measure = lambda *args: measured.append(1) or measure(*args)
    model.head.cross.forward = lambda *args: crossed.append(1) or cross(*args)
    resting = ocd.ocd_step(model, images, samples)
    resting()  # the first one measures in any case
    for run, expected in (
        (resting, (0, 1)),
        (ocd.ocd_step(model, images, samples, measure=True), (1, 1)),
        (ocd.ocd_step(model, images, samples, cross=False), (0, 0)),
        (resting, (0, 1)),
    ):
        measured.clear(), crossed.clear()
        run()
        assert (len(measured), len(crossed)) == expected


def test_the_mean_step_measures_in_one_of_twenty():
    times = Times({ocd.RESTING: [1.0, 2.0], ocd.MEASURING: [3.0, 2.0]})
    assert ocd.amortised(times, 20).seconds[ocd.OCD] == pytest.approx([1.1, 2.0])


def test_the_step_of_ocd_is_compared_with_its_parts(small_configs):
    rows = cells(ocd.ocd_table(BENCH, names=['ocd_simcc_mobilenetv2_coco'], batch=1))
    assert rows[ocd.PARTS][1] == '1.000'
    assert set(rows) == {ocd.PLAIN, ocd.PARTS, ocd.OCD, ocd.RESTING, ocd.MEASURING, ocd.WITHOUT}


@pytest.mark.parametrize(
    ('name', 'most'), [('ocd_deeppose_res50_coco', 36), ('ocd_rtmpose-s_coco', 44)]
)
def test_ocd_starts_few_operators_beside_its_parts(small_configs, name, most):
    """Each is a launch on a GPU; the forward and the backward pass of a step are counted."""
    bench = Bench(rounds=1, clock='operators')
    rows = cells(ocd.ocd_table(bench, names=[name], batch=1))
    operators = {step: int(row[0]) for step, row in rows.items()}
    assert operators[ocd.PLAIN] > 100
    assert 0 < operators[ocd.RESTING] - operators[ocd.PARTS] <= most
    assert operators[ocd.WITHOUT] - operators[ocd.PARTS] <= 20


@pytest.mark.slow
@pytest.mark.parametrize('row', OWN_OPERATORS, ids=lambda row: row)
def test_every_methods_own_operators_are_those_in_the_docs(row):
    """On the shipped configs in full, forward and backward: docs/performance.md has the table."""
    (one,) = (r for r in methods.ROWS if r.config == row)
    assert methods.own_launches(one) == OWN_OPERATORS[row]
    page = (ROOT / 'docs' / 'performance.md').read_text(encoding='utf-8')
    assert re.search(rf'`{re.escape(row)}` \| {OWN_OPERATORS[row]} \|', page)


def test_the_table_of_all_methods_has_a_row_for_each(small_configs):
    rows = [methods.Row('OCD', methods.ocd, 'ocd_rtmpose-s_coco')]
    [row] = cells(methods.methods_table(Bench(rounds=1, batch=1), rows)).values()
    assert len(row) == len(methods.HEADER) - 1
    assert row[0] == 'ocd_rtmpose-s_coco' and row[1] == '1'
    plain, parts, own = (int(n) for n in row[7].split(', '))
    assert 100 < plain < parts and 0 < own <= 44
    assert row[9].startswith('bfloat16: ')  # of the stock head, see docs/performance.md


def test_a_method_without_memory_leaves_the_other_rows(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError('CUDA out of memory\nmore')

    table = methods.methods_table(BENCH, [methods.Row('OCD', full, 'a_config')])
    assert cells(table)['OCD'][:3] == ['a_config', '8', 'CUDA out of memory']


def test_a_batch_asks_for_the_table_of_all_methods(capsys, monkeypatch):
    monkeypatch.setitem(command.TABLES, 'methods', lambda bench: f'## of {bench.batch}\n')
    command.main(['--batch', '64'])
    assert '## of 64' in capsys.readouterr().out


def test_operators_are_counted_and_views_are_not():
    with Launches() as launches:
        x = torch.ones(4, requires_grad=True)
        (x.view(2, 2) * 2).sum().backward()
    forward, backward = 1 + 2, 2  # ones, product, sum; the sum's ones, the product's
    assert launches.count >= forward + backward
    with Launches() as launches:
        x.detach().view(2, 2).t()[0].unsqueeze(0)
    assert launches.count == 0
