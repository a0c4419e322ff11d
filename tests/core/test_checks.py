"""Every wrong setting is refused with its key, what was found and what to give."""

import math

import pytest

from mmpose_kd.core import checks

NO_NUMBERS = [True, False, '1', None, [1], math.inf, -math.inf, math.nan]


@pytest.mark.parametrize('value', [*NO_NUMBERS, -1, 2.5])
def test_a_number_outside_its_range_is_refused(value):
    with pytest.raises(ValueError) as error:
        checks.checked_number(value, 'head.beta', least=0, most=2)
    assert str(error.value) == f'head.beta={value!r}: give a number, 0 or more, at most 2'


def test_bounds_are_reached_or_not_as_they_are_named():
    assert checks.checked_number(0, 'k', least=0) == 0
    assert checks.checked_number(2, 'k', most=2) == 2
    assert checks.checked_number(None, 'k', optional=True) is None
    for bound in (dict(above=2), dict(below=2)):
        with pytest.raises(ValueError, match=r'k=2: give a number (above|below) 2'):
            checks.checked_number(2, 'k', **bound)


@pytest.mark.parametrize('value', [*NO_NUMBERS, 2.0, 0])
def test_a_whole_number_is_no_float_and_no_truth_value(value):
    with pytest.raises(ValueError, match=r'give a whole number of epochs, 1 or more'):
        checks.checked_whole(value, 'k', least=1, of='epochs')
    assert checks.checked_whole(1, 'k', least=1) == 1


@pytest.mark.parametrize('value', ['no', 'True', 0, 1, None, []])
def test_only_true_and_false_are_truth_values(value):
    with pytest.raises(ValueError, match=r'k=.*: give True or False'):
        checks.checked_bool(value, 'k')
    assert checks.checked_bool(False, 'k') is False


@pytest.mark.parametrize('value', ['c', None, ['a'], {}, 1])
def test_a_choice_lists_what_there_is(value):
    with pytest.raises(ValueError, match=r"k=.*: choose one of 'a', 'b'"):
        checks.checked_choice(value, 'k', ('a', 'b'))
    assert checks.checked_choice('a', 'k', ('a', 'b')) == 'a'
    assert checks.checked_choice(None, 'k', ('a',), optional=True) is None


@pytest.mark.parametrize('value', ['', ' ', 3, ['a'], None])
def test_a_name_is_a_text_with_something_in_it(value):
    with pytest.raises(ValueError, match=r'k=.*: give a name'):
        checks.checked_name(value, 'k')


@pytest.mark.parametrize('value', ['12', 3, None, [1], [1, 0, 2], [1, 'a'], [1, True], [1, 2, 3]])
def test_lists_of_numbers_and_sizes_are_looked_at_entry_by_entry(value):
    with pytest.raises(ValueError, match=r'k=.*: give a list of 2 numbers above 0'):
        checks.checked_numbers(value, 'k', count=2, above=0)
    with pytest.raises(ValueError, match=r'k=.*: give \(width, height\)'):
        checks.checked_size(value, 'k')
    assert checks.checked_numbers([1, 2.5], 'k', count=2, above=0) == (1, 2.5)
    assert checks.checked_size([3, 4], 'k') == (3, 4)


@pytest.mark.parametrize('value', [None, 'ab', dict(a=1), [1], [{}, None]])
def test_a_list_of_dicts_is_nothing_else(value):
    with pytest.raises(ValueError, match=r'k=.*: give a list of dicts'):
        checks.checked_dicts(value, 'k')


@pytest.mark.parametrize('settings', [None, 'x', dict(unknown=1), dict()])
def test_settings_that_do_not_build_name_their_key(settings):
    def kind(first, key):
        return first, key

    with pytest.raises(ValueError, match=r'head.thing'):
        checks.built(kind, settings, 'head.thing')
    assert checks.built(kind, dict(first=1), 'head.thing') == (1, 'head.thing')


def test_keypoint_counts_that_are_not_known_fit():
    for pair in ((5, 5), (None, 5), (5, None)):
        checks.check_keypoint_count(*pair, 'teacher has', 'the student', 'give keypoints')
    with pytest.raises(ValueError, match=r'teacher has 5 keypoints, the student has 4: give key'):
        checks.check_keypoint_count(5, 4, 'teacher has', 'the student', 'give keypoints')


@pytest.mark.parametrize('value', [1e39, -1e39, 1e-39, 10**400])
def test_what_float32_does_not_hold_is_no_number(value):
    with pytest.raises(ValueError, match=r'k=.*: give a number that float32 holds'):
        checks.checked_number(value, 'k')
    with pytest.raises(ValueError, match=r'k=.*: give a list of 1 numbers'):
        checks.checked_numbers([value], 'k', count=1)
    assert checks.checked_number(0.0, 'k') == 0


@pytest.mark.parametrize('value', [2**63, -(2**63) - 1, 10**400])
def test_what_int64_does_not_hold_is_no_whole_number(value):
    with pytest.raises(ValueError, match=r'k=.*: give a whole number'):
        checks.checked_whole(value, 'k')
    assert checks.checked_whole(2**63 - 1, 'k') == 2**63 - 1


@pytest.mark.parametrize('value', [0, -1, 10**7, 1e-39, None])
def test_a_factor_of_logits_can_be_squared(value):
    with pytest.raises(ValueError, match=r'k=.*: give a number.* above 0, at most 1000000'):
        checks.checked_factor(value, 'k')
    assert checks.checked_factor(None, 'k', optional=True) is None
    assert checks.checked_factor(0.1, 'k') == 0.1


@pytest.mark.parametrize('value', [b'\x01\x02', bytearray(b'\x01\x02'), '12', {1, 2}])
def test_only_lists_and_tuples_are_lists(value):
    assert not checks.is_list(value)
    for check in (checks.checked_numbers, checks.checked_size, checks.checked_wholes):
        with pytest.raises(ValueError, match='k='):
            check(value, 'k')


@pytest.mark.parametrize('value', [3, 'ab', [''], ['a', 'a'], ['a', 1]])
def test_names_are_texts_each_once(value):
    with pytest.raises(ValueError, match=r'k=.*: give a list of names, each once'):
        checks.checked_names(value, 'k')
    assert checks.checked_names(['a', 'b'], 'k') == ('a', 'b')


@pytest.mark.parametrize('value', [3, 'Normal', {}, dict(type='No'), [dict(type='Normal', s=1)]])
def test_an_initialisation_is_one_of_mmengine(value):
    with pytest.raises(ValueError, match=r'k(\[0\])?(\.type)?=.*: .*give a'):
        checks.checked_init(value, 'k')
    for good in (None, [], dict(type='Normal', std=0.1, override=dict(name='a'))):
        assert checks.checked_init(good, 'k') is good


def test_what_was_found_is_shortened():
    text = str(checks.refusal('k', 'x' * 1000, 'give less'))
    assert len(text) < 300 and text.endswith('...: give less')


def test_the_key_of_settings_is_no_setting():
    with pytest.raises(ValueError, match=r"head.thing.key='x': it is no setting, leave it out"):
        checks.built(lambda key: key, dict(key='x'), 'head.thing')


@pytest.mark.parametrize(
    ('check', 'good', 'bad'),
    [
        (checks.checked_number, 1.5, 'x'),
        (checks.checked_whole, 3, 'x'),
        (lambda v, k, **o: checks.checked_choice(v, k, ('a', 'b'), **o), 'a', 'c'),
        (checks.checked_name, 'x', ' '),
        (checks.checked_dict, dict(a=1), 'x'),
    ],
)
def test_where_none_may_stand_nothing_else_may(check, good, bad):
    assert check(None, 'k', optional=True) is None
    for optional in (True, False):
        assert check(good, 'k', optional=optional) == good
        with pytest.raises(ValueError, match=r'^k=') as error:
            check(bad, 'k', optional=optional)
        assert str(error.value).endswith(', or None') is optional
    with pytest.raises(ValueError, match=r'^k=None'):
        check(None, 'k')


def test_bounds_are_told_in_words():
    told = {
        'a number, 1 or more': dict(least=1),
        'a number above 0, at most 1': dict(above=0, most=1),
        'a number below 3': dict(below=3),
        'a number, at most 2': dict(most=2),
        'a number, 1 or more, below 3': dict(least=1, below=3),
        'a number': {},
    }
    for words, bounds in told.items():
        with pytest.raises(ValueError) as error:
            checks.checked_number('x', 'k', **bounds)
        assert str(error.value) == f"k='x': give {words}"
    with pytest.raises(ValueError, match=r'^k=0: give a whole number, 1 or more, at most 3$'):
        checks.checked_whole(0, 'k', least=1, most=3)
    assert [checks.checked_whole(n, 'k', least=1, most=3) for n in (1, 3)] == [1, 3]
    assert checks.checked_weight(0, 'k') == 0


def test_the_smallest_size_and_lists_of_any_length():
    assert checks.checked_size((1, 1), 'k') == (1, 1)
    with pytest.raises(ValueError, match=r'^k=\(1, 0\): give \(height, width\), whole numbers'):
        checks.checked_size((1, 0), 'k', 'height, width')
    for values in ([], [0, -1.5], (3,)):
        assert checks.checked_numbers(values, 'k') == tuple(values)
    with pytest.raises(ValueError, match=r"^k=\['a'\]: give a list of numbers$"):
        checks.checked_numbers(['a'], 'k')
    assert checks.checked_dicts([{}, dict(a=1)], 'k') == [{}, dict(a=1)]
    assert checks.checked_dicts([], 'k') == []


class Registry:
    """Builds by raising what it is told to, and changes what it is given."""

    def build(self, config):
        if 'error' in config:
            raise config['error']
        return config.pop('type')


@pytest.mark.parametrize('error', [AssertionError, AttributeError, KeyError, TypeError])
def test_what_a_registry_cannot_build_names_its_key(error):
    for given, why in ((error('too little'), 'too little'), (error(), error.__name__)):
        text = rf"^k\.type='A': it cannot be built \({why}\): give a type"
        with pytest.raises(ValueError, match=text):
            checks.built_by(Registry(), dict(type='A', error=given), 'k')


def test_a_config_is_built_and_stays_as_it_is():
    config = dict(type='A')
    assert checks.built_by(Registry(), config, 'k') == 'A' and config == dict(type='A')
    for wrong in ({}, 'A', None):
        with pytest.raises(ValueError, match=r'^k=.*: give a config, a dict with a type$'):
            checks.built_by(Registry(), wrong, 'k')
