"""What is written of a change says the change, whatever was inherited."""

import copy
import random

import pytest
from mmengine.config import Config

from mmpose_kd.core.recipe import Recipe
from mmpose_kd.wrap.changes import same
from mmpose_kd.wrap.source import Source, evaluated
from mmpose_kd.wrap.text import config_text, says_what_is_wanted

BASE = dict(
    codec=dict(type='UDPHeatmap', input_size=(192, 256), heatmap_size=(48, 64), sigma=2),
    model=dict(
        type='TopdownPoseEstimator',
        backbone=dict(type='HRNet', extra=dict(stage1=dict(num_blocks=(4,)), norm=None)),
        neck=None,
        head=dict(type='HeatmapHead', in_channels=32, decoder=dict(type='UDPHeatmap', sigma=2)),
        test_cfg=dict(flip_test=True),
    ),
    train_pipeline=[
        dict(type='LoadImage'),
        dict(type='RandomFlip', direction='horizontal'),
        dict(type='TopdownAffine', input_size=(192, 256)),
        dict(type='GenerateTarget', encoder=dict(type='UDPHeatmap', sigma=2)),
        dict(type='PackPoseInputs'),
    ],
    custom_hooks=[dict(type='SyncBuffersHook')],
    empty={},
    load_from='a.pth',
    flip_map={0: 'left', 1: 'right'},
)


def written(base, wanted, folder, python=False, notes=None):
    """The text, once it is seen that it says what is wanted."""
    folder.mkdir(exist_ok=True)
    lines = [f'{name} = {value!r}' for name, value in base.items()]
    if python:
        lines.insert(0, 'from mmengine.config import read_base')
    (folder / 'base.py').write_text('\n'.join(lines) + '\n')
    recipe = Recipe('any', 'a method', False, None, None, notes=notes or {})
    source = Source.of(folder / 'base.py')
    if python:  # a file that imports nothing of a package is a text config to MMEngine
        source = Source(source.name, True, source.whole)
    text = config_text(source, wanted, recipe, folder / 'out.py')
    (folder / 'out.py').write_text(text)
    assert says_what_is_wanted(evaluated(folder / 'out.py'), wanted, python), text
    return text


def changed(**settings):
    """The base with settings by their dotted keys."""
    cfg = copy.deepcopy(BASE)
    for key, value in settings.items():
        *path, last = key.split('__')
        node = cfg
        for name in path:
            node = node[int(name) if name.isdigit() else name]
        node[int(last) if last.isdigit() else last] = value
    return cfg


CASES = {
    'a number': dict(model__head__in_channels=48),
    'a new key': dict(model__test_cfg__branch='all'),
    'another type': dict(model__head=dict(type='CPMHead', num_stages=2)),
    'of the same type with a key less': dict(model__backbone=dict(type='HRNet')),
    'None becomes a dict': dict(model__neck=dict(type='Pool')),
    'a dict becomes None': dict(model__head=None),
    'a dict becomes a list': dict(model__test_cfg=[1, 2]),
    'a list becomes a dict': dict(custom_hooks=dict(type='X')),
    'an empty dict is filled': dict(empty=dict(a=1)),
    'a dict is emptied': dict(model__test_cfg={}),
    'a tuple becomes a list': dict(codec__input_size=[192, 256]),
    'a whole number becomes another kind': dict(codec__sigma=2.0),
    'keys that are no names': dict(flip_map={0: 'left', 1: 'left', 'a b': 1, 'class': 2}),
    'keys that are no names, some less': dict(flip_map={0: 'left'}),
    'a new variable': dict(another=dict(a=[dict(b=(1,))])),
    'a dict around its old self': dict(model__head=dict(type='A', head=BASE['model']['head'])),
    'a whole model inside another': dict(model=dict(type='A', student=BASE['model'])),
    'a dict of another place': dict(codec=dict(BASE['model']['backbone'])),
    'an item more': dict(custom_hooks=[*BASE['custom_hooks'], dict(type='A')]),
    'an item before': dict(custom_hooks=[dict(type='A'), *BASE['custom_hooks']]),
    'an item changed': dict(train_pipeline__3__encoder=dict(type='B', sigma=3)),
    'an item inserted': dict(
        train_pipeline=[*BASE['train_pipeline'][:2], dict(type='A'), *BASE['train_pipeline'][2:]]
    ),
    'items in another order': dict(train_pipeline=BASE['train_pipeline'][::-1]),
    'no items': dict(train_pipeline=[]),
}
both = pytest.mark.parametrize('python', [False, True], ids=['text', 'python'])


@both
@pytest.mark.parametrize('case', CASES)
def test_what_is_written_says_the_change(case, python, tmp_path):
    written(BASE, changed(**CASES[case]), tmp_path, python)


@both
@pytest.mark.parametrize(
    'seed', [*range(5), *(pytest.param(s, marks=pytest.mark.slow) for s in range(5, 20))]
)
def test_any_change_can_be_written(seed, python, tmp_path):
    draw = random.Random(seed)

    def value(depth):
        kinds = ['number', 'text', 'none', 'list', 'tuple', 'dict', 'copy']
        kind = draw.choice(kinds[: 7 if depth < 3 else 3])
        if kind in ('list', 'tuple'):
            items = [value(depth + 1) for _ in range(draw.randrange(4))]
            return items if kind == 'list' else tuple(items)
        if kind == 'dict':
            return {draw.choice('abcdef'): value(depth + 1) for _ in range(draw.randrange(4))}
        if kind == 'copy':
            return copy.deepcopy(BASE[draw.choice(['model', 'codec', 'train_pipeline'])])
        return dict(number=draw.random(), text='it\'s "x"\n', none=None)[kind]

    def spoilt(node, depth=0):
        if isinstance(node, dict):
            node = {k: spoilt(v, depth + 1) for k, v in node.items()
                    if depth == 0 or draw.random() > 0.1}  # fmt: skip
            if draw.random() < 0.2:
                node[draw.choice('abcdef')] = value(depth)
            return node
        if isinstance(node, list):
            return [spoilt(v, depth + 1) for v in node if draw.random() > 0.1]
        return value(2) if draw.random() < 0.15 else node

    written(BASE, spoilt(copy.deepcopy(BASE)), tmp_path, python)


def test_what_is_inherited_is_referred_to(tmp_path):
    text = written(
        BASE,
        changed(
            model__head=dict(type='A', head=BASE['model']['head'], of=BASE['model']['backbone']),
            custom_hooks=[*BASE['custom_hooks'], dict(type='B')],
            train_pipeline__3=dict(type='GenerateTarget', encoder=BASE['codec']),
        ),
        tmp_path,
    )
    assert 'head=_base_.model.head' in text and 'of=_base_.model.backbone' in text
    assert "[*_base_.custom_hooks, dict(type='B')]" in text
    assert '*_base_.train_pipeline[:-2]' in text and 'encoder=_base_.codec' in text
    assert 'HRNet' not in text


def test_what_stands_twice_gets_a_name(tmp_path):
    codec = dict(type='TwoTargets', first=BASE['codec'], second=dict(type='Label', sigma=12345))
    text = written(BASE, changed(codec=codec, train_pipeline__3__encoder=codec), tmp_path)
    assert text.count('TwoTargets') == 1
    assert 'codec = dict(_two_targets, _delete_=True)' in text


def test_comments_stand_where_they_belong_and_once(tmp_path):
    wanted = changed(model__test_cfg__branch='all', custom_hooks=[dict(type='A'), dict(type='A')])
    notes = {'model.test_cfg': 'of the branches', 'A': 'a hook', 'B': 'not there'}
    lines = written(BASE, wanted, tmp_path, notes=notes).splitlines()
    assert lines.count('    # of the branches') == 1 and lines.count('    # a hook') == 1
    assert 'test_cfg' in lines[lines.index('    # of the branches') + 1]
    assert not any('not there' in line for line in lines)


def test_lines_are_not_too_long(tmp_path):
    wanted = changed(model__head=dict(type='A', **{f'setting_{i}': i for i in range(40)}))
    assert max(map(len, written(BASE, wanted, tmp_path).splitlines())) < 100


def test_a_name_of_the_top_cannot_be_taken_away(tmp_path):
    wanted = copy.deepcopy(BASE)
    del wanted['load_from']
    with pytest.raises(ValueError, match='load_from'):
        written(BASE, wanted, tmp_path)


@pytest.mark.parametrize(
    ('one', 'two'),
    [(1, True), (1, 1.0), ([1], (1,)), (dict(a=None), {}), ('1', 1), ([dict(a=1)], [dict(a=2)])],
)
def test_settings_of_another_kind_are_not_the_same(one, two):
    assert not same(one, two) and same(one, copy.deepcopy(one))


def test_inherited_settings_may_be_mmengines(tmp_path):
    assert same(Config(BASE).model, BASE['model'])
