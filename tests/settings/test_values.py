"""Every setting of every public class, and wrong values for it, made from its signature.

Each is refused with its key, what was found and what to give, or stands in the list of those that
mean something. What is new joins by itself: a class without a configuration in
``places.py`` fails here, and a setting whose wrong values are taken.
"""

import inspect

import pytest

from .meaningful import MEANINGFUL
from .outcomes import all_settings, outcomes
from .places import STOCK, fresh, places, public_classes, settings_of

pytestmark = pytest.mark.reliability


@pytest.fixture(autouse=True)
def files_stay_in_a_folder(tmp_path, monkeypatch):
    """Settings that are names of files make them."""
    monkeypatch.chdir(tmp_path)


def test_every_public_class_is_here():
    missing = public_classes().keys() - places().keys()
    assert not missing, f'give them a configuration that builds in places.py: {missing}'


def test_every_dict_of_settings_is_here():
    dicts = {
        f'{where}.{name}'
        for where, name in all_settings()
        if 'dict' in str(settings_of(places()[where].kind)[name].annotation)
        if where in public_classes()
    }
    entries = {'PoseDistiller.distill'}  # each of them is here by its class
    missing = dicts - places().keys() - STOCK - entries
    assert not missing, f'give them a place of their own, or name them in STOCK: {missing}'


@pytest.mark.parametrize('where', places())
def test_what_is_right_builds(where):
    place = places()[where]
    for name in [None, *place.needed]:
        place.build(fresh(place, name))


@pytest.mark.parametrize(('where', 'name'), all_settings())
def test_every_wrong_value_is_refused_or_means_something(where, name):
    found = list(outcomes(where, name))
    taken = {one.label for one in found if one.error is None}
    assert taken == MEANINGFUL.get(where, {}).get(name, {}).keys()
    bad = {one.label: f'{"; ".join(one.lacks)}: {one.error}' for one in found if one.lacks}
    assert not bad


def test_only_what_is_tried_is_listed():
    listed = {(where, name) for where, names in MEANINGFUL.items() for name in names}
    assert listed <= set(all_settings())


@pytest.mark.parametrize('where', [name for name, place in places().items() if not place.others])
def test_a_name_that_is_no_setting_is_told(where):
    place = places()[where]
    for name in ('typo', *place.given):
        with pytest.raises((TypeError, ValueError), match=rf'\b{name}\b'):
            place.build({**fresh(place), name: 1})


@pytest.mark.parametrize(
    ('where', 'name'),
    [
        (where, name)
        for where, place in places().items()
        for name, parameter in settings_of(place.kind).items()
        if parameter.default is inspect.Parameter.empty and name not in place.given
    ],
)
def test_a_setting_that_is_missing_is_told(where, name):
    place = places()[where]
    settings = {key: value for key, value in fresh(place).items() if key != name}
    with pytest.raises((TypeError, ValueError), match=rf'\b{name}\b'):
        place.build(settings)
