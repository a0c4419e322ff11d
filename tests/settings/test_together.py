"""Settings that are right alone and wrong together."""

from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmpose.registry import HOOKS, TRANSFORMS

from ..helpers.distillers import ENTRY, distiller_config, untrained
from ..helpers.models import HRNET, build, plain_config
from .places import fresh, places, public_classes

pytestmark = pytest.mark.reliability

OUR_HOOKS = [name for name, cls in public_classes().items() if HOOKS.get(name) is cls]


@pytest.mark.parametrize('name', OUR_HOOKS)
def test_two_hooks_of_a_kind_are_refused_before_the_run(name):
    """As where a config adds one to the hooks of a config that has it."""
    hooks = [HOOKS.build({'type': name, **fresh(places()[name])}) for _ in range(2)]
    run = SimpleNamespace(cfg=Config(), hooks=hooks, model=build(plain_config(), init=False))
    with pytest.raises(ValueError, match=f'custom_hooks: {name} stands 2 times.*give it once'):
        hooks[0].before_run(run)


@pytest.mark.parametrize(
    ('keypoints', 'message'),
    [
        ([0, 1, 2, 3, 3], r'keypoints names \[3\] twice.*give -1'),
        ([0, 1, 2, 3, 5], r'keypoints has 5: give numbers of its 5 keypoints'),
        ([0, 1, 2, 3, -2], r'keypoints has -2: give'),
        ([0, 1, 2], r'keypoints names 3 keypoints, the student has 5: give'),
        ([-1] * 5, r'keypoints has -1 alone.*give'),
    ],
)
def test_a_mapping_of_keypoints_names_each_once_and_one_at_least(keypoints, message):
    teachers = [untrained(plain_config(HRNET), keypoints=keypoints)]
    with pytest.raises(ValueError, match=rf'teachers\[0\]\.{message}'):
        build(distiller_config(teachers=teachers), init=False)


@pytest.mark.parametrize('side', ['student', 'teacher'])
@pytest.mark.parametrize(
    'name', ['', ' ', [''], ['head', 'head'], ['head', 3], 'head[', 'head[-1']
)
def test_names_of_captured_outputs_are_told(side, name):
    both = dict(student=['head', 'head.final_layer'], teacher=['head', 'head.final_layer'])
    entry = {**(both if isinstance(name, list) and len(name) == 2 else {}), side: name}
    with pytest.raises(ValueError, match=rf'distill\[0\]\.{side}=.*give'):
        build(distiller_config(entry), init=False)


def test_two_entries_of_one_name_are_told():
    with pytest.raises(ValueError, match=r"distill: the names \['a', 'a'\].*give each its own"):
        build(distiller_config(dict(name='a'), dict(name='a')), init=False)


def test_an_entry_without_a_name_is_numbered():
    model = build(distiller_config(dict(name=None), {}), init=False)
    assert [entry.name for entry in model.distill] == ['distill0', 'distill1']


@pytest.mark.parametrize('number', [0, 1])
def test_settings_of_one_of_several_name_its_number(number):
    entries = [ENTRY, {**ENTRY, 'weight': 0.5}]
    entries[number] = {**entries[number], 'weight': 'high'}
    with pytest.raises(ValueError, match=rf"distill\[{number}\]\.weight='high': give"):
        build(distiller_config(*entries), init=False)


def test_a_guide_that_stands_there_twice_is_told():
    with pytest.raises(ValueError, match=r"guides\[1\]='a\.pth': it stands there twice, give"):
        HOOKS.build(dict(type='DSKDHook', guides=['a.pth', 'a.pth']))


def test_two_views_of_one_name_are_told():
    view = TRANSFORMS.build(dict(type='TeacherView', input_size=(48, 64), name='big'))
    with pytest.raises(ValueError, match=r"TeacherView\(name='big'\) stands twice.*give each"):
        view.transform(dict(views=dict(big=None)))


def test_augmentations_that_are_fixed_twice_are_told():
    step = TRANSFORMS.build(dict(type='FixedAugmentations', transforms=[dict(type='RandomFlip')]))
    with pytest.raises(ValueError, match=r'FixedAugmentations stands twice.*give all'):
        step.transform(dict(augmentation=('someone', 0)))
