"""The export sees every kind of config that MMEngine allows, and says what it did."""

import copy
import json
import os
import warnings
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpose.registry import MODELS

from mmpose_kd.cli import main
from mmpose_kd.export import ExportError, StudentWarning, export_student
from mmpose_kd.export import student as steps

from ..helpers.models import CODEC, RESNET, SIZE, build, head_config, okdhp_config, plain_config
from ..helpers.ocd import ocd_of

PIPELINE = [
    dict(type='TopdownAffine', input_size=SIZE),
    dict(type='GenerateTarget', encoder=CODEC),
]


def run_of(folder, model, hooks=(), pipeline=PIPELINE, meta=None, **changes):
    """A config and a checkpoint, as a run leaves them."""
    cfg = dict(
        default_scope='mmpose',
        custom_imports=dict(imports=['mmpose_kd'], allow_failed_imports=False),
        model=model,
        custom_hooks=list(hooks),
        train_dataloader=dict(dataset=dict(pipeline=list(pipeline))),
    )
    cfg = Config({**cfg, **changes})
    cfg.dump(folder / 'run.py')
    state = build(copy.deepcopy(cfg.model), init=False).state_dict()
    torch.save(dict(state_dict=state, meta=meta or {}), folder / 'epoch_1.pth')
    return folder / 'run.py', folder / 'epoch_1.pth', folder / 'out'


def scoped(node, scope):
    """Every type of a config with a scope or path before it."""
    if isinstance(node, dict):
        node = {k: scoped(v, scope) for k, v in node.items()}
        if isinstance(node.get('type'), str):
            node['type'] = scope(node['type'])
        return node
    return [scoped(v, scope) for v in node] if isinstance(node, list) else node


HOOKS = [dict(type='BranchMetricsHook'), dict(type='DSKDHook', guides='generations')]


@pytest.mark.parametrize('method', ['okdhp', 'ocd', 'dskd'])
def test_types_with_a_scope_leave_no_trace(tmp_path, method):
    model = dict(okdhp=okdhp_config(), ocd=ocd_of('regression'), dskd=plain_config())[method]
    run = run_of(
        tmp_path,
        scoped(model, lambda name: f'mmpose.{name}'),
        scoped(HOOKS if method == 'dskd' else HOOKS[:1], lambda name: f'mmpose.{name}'),
    )
    text = export_student(*run)[1].read_text()
    assert not any(name in text for name in ('OKDHP', 'OCD', 'DSKD', 'BranchMetrics', 'mmpose_kd'))


def test_types_with_their_whole_path_and_no_scope_are_exported(tmp_path):
    paths = dict(SharedTrunk='mmpose_kd.okdhp', OKDHPHead='mmpose_kd.okdhp', FAU='mmpose_kd.okdhp')
    paths.update(MSRAHeatmap='mmpose.codecs', TopdownAffine='mmpose.datasets')
    paths.update(GenerateTarget='mmpose.datasets.transforms')

    def whole(name):
        return f'{paths.get(name, "mmpose.models")}.{name}'

    model = scoped(okdhp_config(), whole)
    run = run_of(tmp_path, model, pipeline=scoped(PIPELINE, whole), default_scope=None)
    text = export_student(*run)[1].read_text()
    assert 'mmpose_kd' not in text


def test_classes_in_the_place_of_names_are_known(tmp_path):
    from mmpose.models import HeatmapHead, ResNet

    from mmpose_kd import OKDHPHead, SharedTrunk
    from mmpose_kd.export.own_types import own_class

    assert own_class(OKDHPHead) is own_class('mmpose_kd.okdhp.OKDHPHead') is OKDHPHead
    assert own_class('mmpose.SharedTrunk') is own_class('mmpose_kd.SharedTrunk') is SharedTrunk
    foreign = (
        HeatmapHead,
        ResNet,
        'mmpose.models.ResNet',
        'mmdet.FAU',
        None,
    )
    assert [own_class(kind) for kind in foreign] == [None] * 5


def test_a_pure_python_config_is_exported(tmp_path):
    base = run_of(tmp_path, okdhp_config(), [dict(type='BranchMetricsHook')])
    pure = tmp_path / 'pure.py'
    pure.write_text(
        'from mmengine.config import read_base\n'
        'from mmpose.models import HeatmapHead, ResNet, TopdownPoseEstimator\n'
        'from mmpose.models import KeypointMSELoss, PoseDataPreprocessor\n'
        'from mmpose.codecs import MSRAHeatmap\n'
        'from mmpose.datasets import TopdownAffine\n'
        'from mmpose_kd import BranchMetricsHook, OKDHPHead, SharedTrunk\n'
        f'net = dict(type=ResNet, {kwargs(RESNET)})\n'
        f'codec = dict(type=MSRAHeatmap, {kwargs(CODEC)})\n'
        f'head = dict(type=HeatmapHead, {kwargs(head_config(RESNET), "loss", "decoder")}, '
        'decoder=codec, loss=dict(type=KeypointMSELoss, use_target_weight=True))\n'
        'pre = dict(type=PoseDataPreprocessor)\n'
        'model = dict(type=TopdownPoseEstimator, data_preprocessor=pre,'
        " backbone=dict(type=SharedTrunk, backbone=net, split='stage2'),"
        " head=dict(type=OKDHPHead, backbone=net, split='stage2', head=head))\n"
        'custom_hooks = [dict(type=BranchMetricsHook)]\n'
        'train_dataloader = dict(dataset=dict(pipeline=[dict(type=TopdownAffine, '
        f'input_size={SIZE})]))\n'
        'default_scope = None\n'
    )
    text = export_student(pure, base[1], base[2])[1].read_text()
    assert 'mmpose_kd' not in text and 'OKDHP' not in text


def kwargs(config, *left_out):
    return ', '.join(f'{k}={v!r}' for k, v in config.items() if k not in ('type', *left_out))


@pytest.mark.parametrize(
    ('metric', 'stock'),
    [
        ('ensemble/coco/AP', 'coco/AP'),
        ('branch1/PCK', 'PCK'),
        ('coco/AP', 'coco/AP'),
        ('auto', 'auto'),
        (['branch0/coco/AP', 'coco/AR'], ['coco/AP', 'coco/AR']),
    ],
)
def test_the_students_config_follows_a_metric_that_a_stock_run_reports(tmp_path, metric, stock):
    hooks = dict(checkpoint=dict(type='CheckpointHook', save_best=metric, rule='greater'))
    early = dict(type='EarlyStoppingHook', monitor='ensemble/coco/AP')
    run = run_of(tmp_path, okdhp_config(), [early], default_hooks=hooks)
    cfg = Config.fromfile(export_student(*run)[1])
    assert cfg.default_hooks.checkpoint.save_best == stock
    assert cfg.custom_hooks[0].monitor == 'coco/AP'


def test_pictures_normalised_otherwise_than_in_the_run_are_refused(tmp_path):
    run = copy.deepcopy(okdhp_config())
    run['data_preprocessor']['mean'] = [0, 0, 0]
    files = run_of(tmp_path, okdhp_config(), meta=dict(cfg=Config(dict(model=run)).pretty_text))
    with pytest.raises(ExportError, match=r'model.data_preprocessor.*mean=\[0, 0, 0\] \(here'):
        export_student(*files)
    assert not files[2].exists()


def test_channels_in_another_order_are_refused_also_beside_the_model(tmp_path):
    model = okdhp_config()
    beside = model.pop('data_preprocessor')
    stated = Config(dict(model=model, data_preprocessor={**beside, 'bgr_to_rgb': False}))
    files = run_of(
        tmp_path, model, meta=dict(cfg=stated.pretty_text), data_preprocessor=copy.deepcopy(beside)
    )
    with pytest.raises(ExportError, match='bgr_to_rgb=False'):
        export_student(*files)


def test_other_settings_that_differ_from_the_run_are_told(tmp_path):
    run = okdhp_config()
    run['test_cfg'] = dict(flip_test=False)
    files = run_of(tmp_path, okdhp_config(), meta=dict(cfg=Config(dict(model=run)).pretty_text))
    with pytest.warns(StudentWarning, match=r'differ in.*model\.test_cfg'):
        export_student(*files)


def test_the_runs_own_config_is_taken_without_a_word(tmp_path):
    model = okdhp_config()
    files = run_of(tmp_path, model, meta=dict(cfg=Config(dict(model=model)).pretty_text))
    with warnings.catch_warnings():
        warnings.simplefilter('error', StudentWarning)
        export_student(*files)


def test_a_preprocessor_beside_the_model_is_no_difference_from_the_run(tmp_path):
    model = okdhp_config()
    beside = dict(data_preprocessor=model.pop('data_preprocessor'))
    stated = Config(dict(model=model, **beside)).pretty_text
    files = run_of(tmp_path, model, meta=dict(cfg=stated), **copy.deepcopy(beside))
    with warnings.catch_warnings():
        warnings.simplefilter('error', StudentWarning)
        export_student(*files)


OKDHP, OCD = okdhp_config, lambda: ocd_of('regression')
DISTILLER = dict(
    type='PoseDistiller',
    teachers=[dict(config=plain_config(), checkpoint=None)],
    distill=[dict(loss=dict(type='HeatmapKLLoss'), student='head[0]', teacher='head')],
)


@pytest.mark.parametrize('inside', [False, True], ids=['alone', 'in a distiller'])
@pytest.mark.parametrize(
    ('make', 'tested', 'branch', 'exported'),
    [
        (OKDHP, 'ensemble', None, 'branch 0'),
        (OKDHP, 1, None, 'branch 0'),
        (OKDHP, 0, 2, 'branch 2'),
        (OCD, 'heatmap', None, 'the deployed head'),
        (OKDHP, 'all', 2, None),
        (OKDHP, 2, 2, None),
        (OKDHP, 0, None, None),
        (OCD, 'all', None, None),
        (OCD, 'deploy', None, None),
    ],
)
def test_where_the_runs_metrics_are_of_another_output_it_is_told(
    make, tested, branch, exported, inside, tmp_path
):
    model = make()
    model['test_cfg']['branch'] = tested
    if inside:
        model = {**DISTILLER, 'student': model}
        if make is OCD:
            model['distill'] = [dict(DISTILLER['distill'][0], student='head.heatmap')]
    files = run_of(tmp_path, model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always', StudentWarning)
        export_student(*files, branch=branch)
    told = [str(one.message) for one in caught if issubclass(one.category, StudentWarning)]
    key = 'model.student.test_cfg' if inside else 'model.test_cfg'
    assert bool(told) == (exported is not None)
    for line in told:
        assert line.startswith(f'{key}.branch={tested!r}: ') and exported in line


@pytest.mark.parametrize('kind', ['RepeatDataset', 'ConcatDataset', None])
def test_the_input_size_is_found_wherever_it_stands(kind, tmp_path):
    inner = dict(type='CocoDataset', pipeline=PIPELINE)
    outer = dict(
        RepeatDataset=dict(times=2, dataset=inner), ConcatDataset=dict(datasets=[inner, inner])
    )
    dataset = dict(type=kind, **outer[kind]) if kind else dict(type='CocoDataset', pipeline=[])
    export_student(*run_of(tmp_path, okdhp_config(), train_dataloader=dict(dataset=dataset)))


UNBALANCED = dict(
    num_branches=3, branches=[dict(), dict(head=dict(deconv_out_channels=(16, 16, 16))), dict()]
)


def with_records(folder, scores):
    logs = folder / '20260101_000000' / 'vis_data'
    logs.mkdir(parents=True)
    line = {f'branch{t}/coco/AP': score for t, score in enumerate(scores)}
    (logs / 'scalars.json').write_text(json.dumps({**line, 'coco/AP': scores[0], 'step': 1}))


def test_best_leaves_a_bigger_branch_unless_it_is_allowed(tmp_path):
    run = run_of(tmp_path, okdhp_config(**UNBALANCED), meta=dict(epoch=1))
    with_records(tmp_path, [0.5, 0.9, 0.6])
    student = export_student(*run, branch='best')
    assert student.branch == 2 and student.metric == 'coco/AP 0.6' and student.epoch == 1
    assert student.passed_over.startswith('branch 1 was better (coco/AP 0.9), but has ')
    bigger = export_student(*run, branch='best', allow_bigger=True, force=True)
    assert bigger.branch == 1 and bigger.parameters > student.parameters
    assert 'more than the deployed branch' in bigger.passed_over


SHORT = dict(
    stop='stage3',
    head=dict(in_channels=32, deconv_out_channels=(8, 8), deconv_kernel_sizes=(4, 4)),
)


@pytest.mark.parametrize('inside', [False, True], ids=['alone', 'in a distiller'])
def test_a_branch_that_is_no_whole_model_is_not_exported(inside, tmp_path):
    model = okdhp_config(split='end', num_branches=3, branches=[dict(), SHORT, dict()])
    if inside:
        entry = dict(loss=dict(type='HeatmapKLLoss'), student='head[0]', teacher='head')
        teachers = [dict(config=plain_config(), checkpoint=None)]
        model = dict(type='PoseDistiller', student=model, teachers=teachers, distill=[entry])
    run = run_of(tmp_path, model, meta=dict(epoch=1))
    with_records(tmp_path, [0.5, 0.9, 0.6])
    with pytest.raises(ExportError, match=r"branch 1: branch 1 is no whole model, .*'stage3'"):
        export_student(*run, branch=1)
    assert export_student(*run, branch='best').branch == 2


def test_best_weighs_the_branches_of_a_student_inside_a_distiller(tmp_path):
    model = dict(
        type='PoseDistiller',
        student=okdhp_config(**UNBALANCED),
        teachers=[dict(config=plain_config(), checkpoint=None)],
        distill=[dict(loss=dict(type='HeatmapKLLoss'), student='head[0]', teacher='head')],
    )
    run = run_of(tmp_path, model, meta=dict(epoch=1))
    with_records(tmp_path, [0.5, 0.9, 0.6])
    assert export_student(*run, branch='best').branch == 2
    bigger = export_student(*run, branch='best', allow_bigger=True, force=True)
    assert bigger.branch == 1 and 'more than the deployed branch' in bigger.passed_over


def test_records_are_found_where_checkpoints_go_to_another_folder(tmp_path):
    config, checkpoint, out = run_of(tmp_path, okdhp_config(), meta=dict(epoch=1))
    with_records(tmp_path, [0.1, 0.2, 0.3])
    elsewhere = tmp_path / 'checkpoints' / 'run'
    elsewhere.mkdir(parents=True)
    checkpoint = checkpoint.rename(elsewhere / 'epoch_1.pth')
    assert export_student(config, checkpoint, out, branch='best').branch == 2


def test_what_is_there_is_not_overwritten_unless_asked(tmp_path):
    run = run_of(tmp_path, okdhp_config())
    export_student(*run)
    (run[2] / 'student.pth').write_bytes(b'mine')
    with pytest.raises(FileExistsError, match='--force'):
        export_student(*run)
    assert (run[2] / 'student.pth').read_bytes() == b'mine'
    student = export_student(*run, force=True)
    assert 'parameters; verified: predictions bit-equal on 2 images' in str(student)


def test_an_onnx_file_of_another_student_does_not_stay(tmp_path, capsys):
    run = run_of(tmp_path, okdhp_config())
    old = run[2] / 'student.onnx'
    old.parent.mkdir()
    old.write_bytes(b'of another student')
    with pytest.raises(FileExistsError, match=r'student\.onnx is there already: .*--force'):
        export_student(*run)
    assert [path.name for path in run[2].iterdir()] == ['student.onnx']
    assert main(['export', *map(str, run), '--force']) == 0
    assert sorted(path.name for path in run[2].iterdir()) == ['student.pth', 'student.py']
    assert f'note: {old} was of another student and is removed' in capsys.readouterr().err
    assert export_student(*run, force=True).removed is None


@pytest.mark.parametrize('channels', [1, 4])
@pytest.mark.parametrize('method', ['ocd', 'dskd'])
def test_pictures_of_other_channels_are_checked_with_as_many(tmp_path, method, channels):
    model = ocd_of('regression') if method == 'ocd' else plain_config()
    model['backbone'] = dict(RESNET, in_channels=channels)
    model['data_preprocessor'] = dict(type='PoseDataPreprocessor')
    if channels == 1:
        model['data_preprocessor'].update(mean=[127.0], std=[60.0])
    run = run_of(
        tmp_path, model, [dict(type='DSKDHook', guides='generations')] if method == 'dskd' else []
    )
    assert export_student(*run).parameters > 0


def test_what_does_not_fit_is_told_in_ten_lines_with_its_origin(tmp_path):
    config, checkpoint, out = run_of(tmp_path, okdhp_config())
    text = Config(dict(model=plain_config())).pretty_text
    state = MODELS.build(plain_config()).state_dict()
    torch.save(
        dict(state_dict=state, meta=dict(cfg=text, experiment_name='td-hm_res18_20260101')),
        checkpoint,
    )
    with pytest.raises(ExportError) as error:
        export_student(config, checkpoint, out)
    lines = str(error.value).splitlines()
    assert len(lines) <= 10
    assert 'missing in the checkpoint: head.branches.0' in str(error.value)
    assert 'written by run td-hm_res18_20260101' in lines[-1] and 'head.type=Heatmap' in lines[-1]


@pytest.mark.parametrize(
    'content',
    [[1, 2], dict(state_dict=[1]), dict(state_dict={0: torch.ones(1)}), dict(state_dict={'a': 1}),
     dict(state_dict={}, meta=None), dict(state_dict={}, meta=[1]),
     dict(state_dict={'backbone.conv1.weight': torch.ones(2, dtype=torch.complex64)})],
)  # fmt: skip
def test_odd_checkpoints_get_an_error_of_ours(tmp_path, content):
    config, checkpoint, out = run_of(tmp_path, okdhp_config())
    torch.save(content, checkpoint)
    with pytest.raises(ExportError):
        export_student(config, checkpoint, out)


@pytest.mark.parametrize('text', ['model = (', 'raise KeyError(3)', 'import nothing_there', 'a=1'])
def test_odd_configs_get_an_error_of_ours(tmp_path, text):
    config, checkpoint, out = run_of(tmp_path, okdhp_config())
    config.write_text(text)
    with pytest.raises(ExportError, match=r'run\.py'):
        export_student(config, checkpoint, out)


def test_the_command_says_what_it_did(tmp_path, capsys):
    run = run_of(tmp_path, okdhp_config(**UNBALANCED), meta=dict(epoch=1))
    with_records(tmp_path, [0.5, 0.9, 0.6])
    command = ['export', *map(str, run)]
    assert main([*command, '--branch', 'best']) == 0
    said = capsys.readouterr()
    assert 'branch 2, coco/AP 0.6 after epoch 1' in said.out and 'verified' in said.out
    assert 'mmpose-kd: note: branch 1 was better' in said.err
    assert main(command) == 1
    assert '--force' in capsys.readouterr().err


def test_a_student_that_predicts_otherwise_is_not_written(tmp_path, monkeypatch):
    asked = []

    def compare(*arguments):
        asked.append(arguments)
        return 'flip_test=True'

    monkeypatch.setattr(steps, 'same_predictions', compare)
    config, checkpoint, out = run_of(tmp_path, okdhp_config())
    with pytest.raises(ExportError, match=r'not predict the same as branch 0 \(flip_test=True\)'):
        export_student(config, checkpoint, out)
    assert not out.exists() and not list(tmp_path.glob('.export-*'))
    ((trained, plain, size, channels),) = asked
    assert (size, channels) == (SIZE, 3) and not trained.training and not plain.training
    assert hasattr(trained.head, 'branches') and type(plain.head).__name__ == 'HeatmapHead'


def test_the_files_are_moved_to_their_place_when_all_is_checked(tmp_path, monkeypatch):
    config, checkpoint, out = run_of(tmp_path, okdhp_config())
    moved = []

    def replace(source, target):
        if Path(target).parent == out:  # not within the folder where they are made
            moved.append((source, target, target.exists()))
        os.rename(source, target)

    monkeypatch.setattr(steps.os, 'replace', replace)
    done = export_student(config, checkpoint, out)
    assert [target for _, target, _ in moved] == list(done) == sorted(out.iterdir())
    assert all(source.parents[1] == tmp_path and not there for source, _, there in moved)
