"""A config of one's own is wrapped: what is written, what is tried, what is refused."""

import copy
import os
import re

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

import mmpose_kd
from mmpose_kd.core.config_file import ConfigError
from mmpose_kd.core.recipe import RECIPES, training_pipelines, type_name
from mmpose_kd.wrap import WrapError, advise, wrap_config
from mmpose_kd.wrap.own_run import apart
from mmpose_kd.wrap.source import Source, evaluated

from ..helpers.distillers import saved_teacher
from ..helpers.models import RESNET, plain_config
from ..helpers.ocd import HEADS, plain_of
from ..helpers.runs import draw, run_config

#: a user's model for each method
STUDENTS = dict(okdhp=None, dskd=None, pkd=None, ocd='regression', tcd='simcc', hhd='integral')
each_method = pytest.mark.parametrize('method', STUDENTS)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


def own(data, folder, kind=None, **changes):
    """A config of the user's, in a file, for 17 keypoints and any data."""
    model = plain_of(kind) if kind else plain_config(RESNET)
    model['head']['num_joints' if 'num_joints' in model['head'] else 'out_channels'] = 17
    cfg = run_config(data, folder / 'work', model)
    del cfg['custom_imports']
    if kind:
        pipeline = cfg['train_dataloader']['dataset']['pipeline']
        pipeline[-2]['encoder'] = HEADS[kind]['head']['decoder']
    cfg['custom_hooks'] = [dict(type='SyncBuffersHook')]
    cfg['train_cfg']['max_epochs'] = 3
    cfg.update(changes)
    folder.mkdir(exist_ok=True)
    Config(copy.deepcopy(cfg)).dump(folder / 'own.py')
    return folder / 'own.py'


def teacher_of(method, folder):
    if not RECIPES[method].needs_teacher:
        return None
    if method not in ('pkd', 'dskd'):  # whose teacher is such a model as the student
        return saved_teacher(folder)
    model = plain_config(RESNET)
    model['head']['out_channels'] = 17
    Config(dict(model=model)).dump(folder / 'teacher.py')
    return dict(config=str(folder / 'teacher.py'), checkpoint=None)


def as_wanted(path, method, out, teacher=None):
    """Whether a written config says exactly what the recipe makes of the whole one."""
    whole = apart(Source.of(path), method, out)
    wanted = RECIPES[method].distilled(whole, *([teacher] if teacher else []))
    found = {k: v for k, v in evaluated(out).items() if k in wanted or not k.startswith('_')}
    return found == wanted


def trains_a_step(path, folder):
    """The config in MMPose's runner, for one short epoch of the real run."""
    cfg = Config.fromfile(path)
    cfg.work_dir = str(folder)
    cfg.train_cfg.max_epochs = max(cfg.train_cfg.max_epochs, 3)
    Runner.from_cfg(cfg).train()


# --------------------------------------------------------------------------------- fitting


@pytest.mark.parametrize(
    'method', [pytest.param(m, marks=[pytest.mark.slow] * (m in ('pkd', 'hhd'))) for m in STUDENTS]
)
def test_each_method_is_wrapped_and_tried_on_the_users_pictures(method, data, tmp_path):
    path, teacher = own(data, tmp_path, STUDENTS[method]), teacher_of(method, tmp_path)
    out = tmp_path / 'new/out.py'
    state = np.random.get_state()[1].copy()
    scope = DefaultScope.get_current_instance().scope_name
    written = wrap_config(path, method, out, teacher)
    assert os.fspath(written) == str(out) and out.read_text() == written.text
    assert as_wanted(path, method, out, teacher)
    assert written.trial.missing is None and written.trial.losses
    assert 'a training step on 2 pictures of the training data (cpu): loss' in str(written)
    assert sorted(p.name for p in out.parent.iterdir()) == ['out.py']
    assert (np.random.get_state()[1] == state).all()
    assert DefaultScope.get_current_instance().scope_name == scope
    text = written.text
    assert "_base_ = ['../own.py']" in text and '*_base_.custom_hooks' in text
    assert f'docs/{RECIPES[method].page}' in text
    assert sum(not line.startswith('#') for line in text.splitlines()) < 70


@pytest.mark.slow
@each_method
def test_what_is_written_trains_in_mmposes_runner(method, data, tmp_path):
    path, teacher = own(data, tmp_path, STUDENTS[method]), teacher_of(method, tmp_path)
    wrap_config(path, method, tmp_path / 'out.py', teacher, trial=False)
    trains_a_step(tmp_path / 'out.py', tmp_path / 'run')
    assert (tmp_path / 'run/epoch_3.pth').is_file()


def test_advise_asks_every_method_and_those_that_fit_come_first(data, tmp_path):
    answers = advise(own(data, tmp_path, 'regression'))
    assert {answer.recipe.name for answer in answers} == set(RECIPES)
    fits = [answer.fits for answer in answers]
    assert fits == sorted(fits, reverse=True)
    found = {answer.recipe.name: answer.misfit for answer in answers}
    assert found['ocd'] is found['tcd'] is found['dskd'] is None
    assert "model.head.type='RegressionHead'" in found['okdhp']


def test_every_recipe_tells_its_page_and_its_figures_if_there_are_any():
    from ..helpers import ROOT

    for recipe in RECIPES.values():
        assert (ROOT / 'docs' / recipe.page).is_file(), recipe.name
        assert all(part is None or part for part in vars(recipe.figures).values())


def test_the_functions_are_public():
    assert mmpose_kd.advise is advise and mmpose_kd.wrap_config is wrap_config


# ----------------------------------------------------------------------- the user's own ways


def test_data_that_is_not_there_is_made_up_and_it_is_said(data, tmp_path):
    path = own(data, tmp_path)
    path.write_text(path.read_text().replace(str(data), 'data/mine'))
    trial = wrap_config(path, 'okdhp', tmp_path / 'out.py').trial
    assert 'data/mine' in trial.missing and 'made-up pictures' in str(trial)


def test_a_combined_data_set_and_a_second_pipeline_get_the_methods_labels(data, tmp_path):
    path = own(data, tmp_path, 'regression')
    cfg = Config.fromfile(path).to_dict()
    inner = copy.deepcopy(cfg['train_dataloader']['dataset'])
    second = copy.deepcopy(inner['pipeline'])
    outer = inner['pipeline'][-1:]
    inner['pipeline'] = inner['pipeline'][:-1]
    metainfo = dict(from_file='configs/_base_/datasets/coco.py')
    cfg['train_dataloader']['dataset'] = dict(
        type='CombinedDataset', metainfo=metainfo, datasets=[inner], pipeline=outer
    )
    switch = dict(type='mmdet.PipelineSwitchHook', switch_epoch=2, switch_pipeline=second)
    path = own(
        data, tmp_path, 'regression', train_dataloader=cfg['train_dataloader'],
        custom_hooks=[dict(type='SyncBuffersHook'), switch],
    )  # fmt: skip
    written = wrap_config(path, 'ocd', tmp_path / 'out.py', trial=False)
    assert as_wanted(path, 'ocd', tmp_path / 'out.py')
    made = evaluated(tmp_path / 'out.py')
    encoders = [
        type_name(step['encoder'])
        for pipeline in training_pipelines(made)
        for step in pipeline
        if type_name(step) == 'GenerateTarget'
    ]
    assert encoders == ['CrossRepresentationLabel'] * 2
    assert written.text.count("type='CrossRepresentationLabel'") == 1


@pytest.mark.parametrize('method', ['okdhp', pytest.param('hhd', marks=pytest.mark.slow)])
def test_a_pure_python_config_is_inherited_by_an_import(method, data, tmp_path):
    text = own(data, tmp_path, STUDENTS[method]).read_text()
    kinds = dict(TopdownPoseEstimator='mmpose.models', ResNet='mmpose.models.backbones')
    for kind, module in kinds.items():
        text = text.replace(f"'{kind}'", kind)
        text = f'from {module} import {kind}\n{text}'
    path = tmp_path / 'own.py'
    path.write_text(text)
    teacher = teacher_of(method, tmp_path)
    written = wrap_config(path, method, tmp_path / 'sub/out.py', teacher)
    assert 'from ..own import *' in written.text and '_base_' not in written.text
    assert re.search(r'^from mmpose_kd import \w+', written.text, re.MULTILINE)
    cfg = Config.fromfile(tmp_path / 'sub/out.py')
    kind = mmpose_kd.OKDHPHead if method == 'okdhp' else mmpose_kd.PoseDistiller
    assert kind in (cfg.model.type, cfg.model.get('head', {}).get('type'))


# ------------------------------------------------------------------------- a run of its own


def of_a_run(data, tmp_path, **changes):
    """The config that MMEngine leaves in a work directory."""
    folder = tmp_path / 'work_dirs/own'
    cfg = Config.fromfile(own(data, tmp_path))
    cfg.merge_from_dict(dict(work_dir=str(folder), **changes))
    Runner.from_cfg(cfg)
    return folder / 'own.py'


def test_what_a_run_dumped_gets_a_folder_of_its_own(data, tmp_path):
    path = of_a_run(data, tmp_path)
    written = wrap_config(path, 'okdhp', tmp_path / 'my okdhp.py', trial=False)
    cfg = evaluated(tmp_path / 'my okdhp.py')
    assert cfg['work_dir'] == './work_dirs/my okdhp'
    assert not cfg.get('resume') and cfg.get('load_from') is None
    assert "'work_dirs/my okdhp'/epoch_<N>.pth" in written.text
    assert "work_dir = './work_dirs/my okdhp'" in written.text
    assert 'resume' not in written.text and as_wanted(path, 'okdhp', tmp_path / 'my okdhp.py')


@pytest.mark.parametrize('load_from', [None, 'work_dirs/own/epoch_2.pth'])
@pytest.mark.parametrize('method', ['okdhp', 'dskd'])
def test_what_a_resumed_run_dumped_begins_anew(method, load_from, data, tmp_path):
    path = of_a_run(data, tmp_path, resume=True, load_from=load_from)
    teacher = teacher_of(method, tmp_path)
    written = wrap_config(path, method, tmp_path / 'out.py', teacher, trial=False)
    cfg = evaluated(tmp_path / 'out.py')
    assert [cfg[key] for key in ('resume', 'load_from')] == [False, None]
    assert cfg['work_dir'] == './work_dirs/out'
    assert 'resume = False' in written.text
    assert ('load_from = None' in written.text) == bool(load_from)
    assert 'reaches the backbone alone' not in written.text


def test_a_checkpoint_that_a_run_only_starts_from_is_kept(data, tmp_path):
    path = own(data, tmp_path, load_from='plain.pth', resume=False)
    wrap_config(path, 'okdhp', tmp_path / 'out.py', trial=False)
    assert evaluated(tmp_path / 'out.py')['load_from'] == 'plain.pth'


@pytest.mark.parametrize('work_dir', [None, './work_dirs/own', 'work_dirs/own/'])
def test_of_the_same_name_it_does_not_share_the_folder(work_dir, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = own(data, tmp_path / 'configs', work_dir=work_dir)
    written = wrap_config(path, 'okdhp', tmp_path / 'own.py', trial=False)
    assert evaluated(tmp_path / 'own.py')['work_dir'] == './work_dirs/own_okdhp'
    assert 'own.py work_dirs/own_okdhp/epoch_<N>.pth' in written.text


def test_where_mmpose_names_another_folder_none_is_written(data, tmp_path):
    path = own(data, tmp_path / 'configs')
    cfg = Config.fromfile(path)
    cfg.pop('work_dir')
    cfg.dump(path)
    written = wrap_config(path, 'okdhp', tmp_path / 'out.py', trial=False)
    assert 'work_dir' not in evaluated(tmp_path / 'out.py')
    assert 'out.py work_dirs/out/epoch_<N>.pth' in written.text


def test_what_is_known_to_bring_nothing_is_said(data, tmp_path, capsys):
    model = plain_config(dict(RESNET, out_indices=(2,)))
    model['head'].update(
        in_channels=model['head']['in_channels'] // 2, out_channels=17,
        deconv_out_channels=(8, 8), deconv_kernel_sizes=(4, 4),
    )  # fmt: skip
    path = own(data, tmp_path, model=model)
    answers = {answer.recipe.name: answer for answer in advise(path)}
    caution = answers['okdhp'].caution
    assert caution.startswith('no light sibling was found') and answers['dskd'].caution is None
    written = wrap_config(path, 'okdhp', tmp_path / 'out.py', trial=False)
    assert written.caution == caution and caution in str(written)
    assert '# Note: no light sibling was found' in written.text
    plain = own(data, tmp_path / 'plain')
    assert {answer.caution for answer in advise(plain)} == {None}
    written = wrap_config(plain, 'okdhp', tmp_path / 'plain/out.py', trial=False)
    assert written.caution is None and 'Note:' not in written.text


# -------------------------------------------------------------------------------- refusing


def refused(message, *args, error=WrapError, **settings):
    with pytest.raises(error, match=message) as caught:
        wrap_config(*args, **settings)
    assert '\n' not in str(caught.value)


def test_a_method_that_does_not_fit_says_why_and_which_do(data, tmp_path):
    path = own(data, tmp_path, 'regression')
    refused(
        r"okdhp does not fit .*own.py: model.head.type='RegressionHead'.*; what fits: .*ocd",
        path, 'okdhp', tmp_path / 'out.py',
    )  # fmt: skip
    assert not (tmp_path / 'out.py').exists()


def test_what_is_there_stays_without_force(data, tmp_path):
    path, out = own(data, tmp_path), tmp_path / 'out.py'
    out.write_text('mine')
    refused('is there already: give another', path, 'okdhp', out, error=FileExistsError)
    assert out.read_text() == 'mine'
    wrap_config(path, 'okdhp', out, force=True, trial=False)
    assert 'OKDHPHead' in out.read_text()
    refused('the config itself', path, 'okdhp', path, error=ValueError, force=True)


def test_no_file_that_the_config_or_the_teacher_inherits_is_replaced(data, tmp_path):
    path = own(data, tmp_path, 'simcc')
    base = path.rename(tmp_path / 'base.py')
    (tmp_path / 'middle.yaml').write_text("_base_: ['base.py']\n")
    path.write_text("_base_ = ['{{ fileDirname }}/middle.yaml']\n")
    (tmp_path / 'taught').mkdir()
    teacher = saved_teacher(tmp_path / 'taught')
    own_teacher = tmp_path / 'teacher.py'
    own_teacher.write_text(f'_base_ = [{str(teacher["config"])!r}]\n')
    teacher['config'] = str(own_teacher)
    before = {p: p.read_bytes() for p in tmp_path.rglob('*.py')}
    (tmp_path / 'sub').mkdir()
    for out, told in (
        (base, 'this is the config or a base of it'),
        (tmp_path / 'sub/../base.py', 'this is the config or a base of it'),
        (own_teacher, "this is the teacher's config or a base of it"),
        (tmp_path / 'taught/teacher.py', "this is the teacher's config or a base of it"),
    ):
        refused(told, path, 'tcd', out, teacher, error=ValueError, force=True)
    assert {p: p.read_bytes() for p in tmp_path.rglob('*.py')} == before


def test_bases_in_pure_python_style_are_not_replaced_either(data, tmp_path):
    base = own(data, tmp_path).rename(tmp_path / 'base.py')
    base.write_text(f'from mmpose.models import ResNet\n{base.read_text()}')
    (tmp_path / 'sub').mkdir()
    for name, module in (('sub/middle.py', '..base'), ('own.py', '.sub.middle')):
        (tmp_path / name).write_text(
            'from mmengine.config import read_base\n\n'
            f'with read_base():\n    from {module} import *\n'
        )
    path = tmp_path / 'own.py'
    for out in (base, tmp_path / 'sub/middle.py'):
        before = out.read_bytes()
        refused('the config or a base of it', path, 'okdhp', out, error=ValueError, force=True)
        assert out.read_bytes() == before


def test_a_step_that_fails_leaves_nothing(data, tmp_path):
    path, out = own(data, tmp_path), tmp_path / 'out.py'
    path.write_text(path.read_text().replace('lr=0.001', 'lr=-1.0'))
    refused(
        'the first training step fails: .*learning rate: -1.0; nothing was w', path, 'okdhp', out
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ['own.py']
    wrap_config(path, 'okdhp', out, trial=False)


@pytest.mark.parametrize(
    ('settings', 'error', 'message'),
    [
        (dict(method='kd'), ValueError, "method='kd': choose one of 'dskd'"),
        (dict(out='out.txt'), ValueError, "out='out.txt': give a name that ends in .py"),
        (dict(config='none.py'), ConfigError, 'none.py'),
        (dict(teacher=dict(config='a', checkpoint='b')), WrapError, 'okdhp needs no teacher'),
        (dict(method='tcd'), WrapError, 'tcd needs a teacher.*--teacher CONFIG CHECKPOINT'),
        (
            dict(method='tcd', teacher=dict(config='a', checkpoint='no.pth')),
            FileNotFoundError,
            '--teacher: no.pth: no such checkpoint',
        ),
        (dict(force='no'), ValueError, "force='no'"),
        (dict(trial=1), ValueError, 'trial=1'),
    ],
)
def test_a_wrong_setting_is_named(settings, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'own.py').write_text('model = dict(type="TopdownPoseEstimator")\n')
    given = {**dict(config='own.py', method='okdhp', out='out.py'), **settings}
    refused(message, error=error, **given)
    assert [p.name for p in tmp_path.iterdir()] == ['own.py']


def test_a_teacher_that_does_not_fit_is_named_and_nothing_is_written(data, tmp_path):
    path, out = own(data, tmp_path, 'simcc'), tmp_path / 'out.py'
    teacher = dict(config=str(path), checkpoint=None)
    refused('tcd cannot be made of .*own.py: teacher.config', path, 'tcd', out, teacher)
    assert not out.exists()
