"""What the strict unpickler, for torch before 2.6, lets a file change and call."""

import io
import pickle

import pytest

from mmpose_kd.core.safe_loading import Builder, StrictUnpickler

from ..helpers.crafted import HISTORY, array, built, call, name, new, value, whole


def strictly(content):
    return StrictUnpickler(io.BytesIO(whole(content))).load()


LIST_ITEM = value([0]) + value(0) + value('x') + b's'
LIST_ITEMS = value([0]) + b'(' + value(0) + value('x') + b'u'
COUNTER = call('collections.Counter')


@pytest.mark.parametrize(
    'content',
    [LIST_ITEM, LIST_ITEMS, built(COUNTER, {'x': 1}), built(COUNTER, ({}, {'x': 1}))],
    ids=['item of a list', 'items of a list', 'state of a counter', 'slots of a counter'],
)
def test_only_dicts_get_items_and_only_known_things_get_a_state(content):
    for where in (content, value({'k': content}), value([content]), value([[{'k': content}]])):
        with pytest.raises(pickle.UnpicklingError, match=r'it changes a (list|Counter)'):
            strictly(where)


def test_what_a_file_may_change_is_changed_wherever_it_stands():
    state = built(call('collections.OrderedDict', [('a', 1)]), {'_metadata': {'v': 2}})
    found = strictly(value({'k': [1, {'l': [(2, 3), call('builtins.set', [4]), state]}]}))
    assert found == {'k': [1, {'l': [(2, 3), {4}, {'a': 1}]}]}
    assert vars(found['k'][1]['l'][2]) == {'_metadata': {'v': 2}}
    assert strictly(value([built(new(HISTORY), {'n': 1})]))[0].state == {'n': 1}
    single = b'}' + value('a') + b']' + value(1) + b'a' + b's'
    assert strictly(single) == {'a': [1]}
    assert strictly(b'\x8f(' + value(1) + b'\x90') == {1}  # a set of protocol 4


@pytest.mark.parametrize('called', ['builtins.print', 'os.getcwd', 'numpy.ndarray.tofile'])
def test_no_other_function_is_called_by_either_opcode(called):
    for content in (call(called), new(called)):
        with pytest.raises(pickle.UnpicklingError, match='Unsupported global'):
            strictly(content)
    statistic = call('builtins.getattr', name(HISTORY), 'max')
    for opcode in (b'R', b'\x81'):
        with pytest.raises(pickle.UnpicklingError, match=r"it calls 'max'"):
            strictly(statistic + value(()) + opcode)
        with pytest.raises(pickle.UnpicklingError, match=r"it calls 'max'"):
            strictly(value([name('collections.OrderedDict'), statistic + value(()) + opcode]))


def test_all_arrays_together_may_be_as_large_as_the_file_and_no_larger():
    two = strictly(value([array('f8', (2,)), array('f8', (1,), bytes(8))]))  # 24 bytes
    assert [a.tolist() for a in Builder(24)(two)] == [[0, 0], [0]]
    two = strictly(value([array('f8', (2,)), array('f8', (1,), bytes(8))]))
    with pytest.raises(pickle.UnpicklingError, match='it has arrays larger than the file'):
        Builder(23)(two)
