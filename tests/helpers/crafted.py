"""Checkpoints that no program writes: a small assembler of pickles, and what to try with it."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import torch


def write_pickle(path: Path, pickled: bytes) -> Path:
    """Write a checkpoint whose pickle is the given bytes."""
    torch.save({}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in entries.items():
            archive.writestr(name, pickled if name.endswith('/data.pkl') else content)
    return path


# The assembler: each function gives the opcodes that leave one object on the stack.


def whole(content: bytes) -> bytes:
    return b'\x80\x02' + content + b'.'


def name(path: str) -> bytes:
    module, _, attribute = path.rpartition('.')
    return f'c{module}\n{attribute}\n'.encode()


def value(content) -> bytes:
    """Plain values; bytes are opcodes already."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, tuple):
        return b'(' + b''.join(map(value, content)) + b't'
    if isinstance(content, list):
        return b'](' + b''.join(map(value, content)) + b'e'
    if isinstance(content, dict):
        return b'}(' + b''.join(value(k) + value(v) for k, v in content.items()) + b'u'
    return pickle.dumps(content, protocol=2)[2:-1]


def raw(content: bytes) -> bytes:
    """Bytes, as pickles of protocol 2 have them."""
    return call('_codecs.encode', content.decode('latin1'), 'latin1')


def call(function, *arguments) -> bytes:
    function = name(function) if isinstance(function, str) else function
    return function + value(arguments) + b'R'


def new(cls, *arguments) -> bytes:
    return name(cls) + value(arguments) + b'\x81'


def built(what: bytes, state) -> bytes:
    return what + value(state) + b'b'


def kept(what: bytes, slot: int) -> bytes:
    """Also in the memo."""
    return what + b'q' + bytes([slot])


def again(slot: int) -> bytes:
    return b'h' + bytes([slot])


# What MMEngine writes, from which the crafted ones depart

ARRAY = 'numpy.core.multiarray._reconstruct'
SCALAR = 'numpy.core.multiarray.scalar'
NDARRAY = 'numpy.ndarray'
HISTORY = 'mmengine.logging.history_buffer.HistoryBuffer'
STATE = (3, '<', None, None, None, -1, -1, 0)


def dtype(code: str, state=STATE) -> bytes:
    return built(call('numpy.dtype', code, False, True), state)


EMPTY = call(ARRAY, name(NDARRAY), (0,), raw(b'b'))


def array(code='f8', shape=(2,), content=bytes(16), state=STATE, **more) -> bytes:
    content = more.get('content_as', raw(content))
    made = call(more.get('by', ARRAY), name(more.get('kind', NDARRAY)), (0,), raw(b'b'))
    return built(made, (1, shape, dtype(code, state), more.get('columns', False), content))


def history(values=None, counts=None, longest=10, **more) -> bytes:
    state = {
        '_log_history': array() if values is None else values,
        '_count_history': array() if counts is None else counts,
        'max_length': longest,
        **more,
    }
    return built(new(HISTORY), state)


POINTER = (0x4141414141414141).to_bytes(8, 'little')

# Nothing of this may load.
REFUSED = {
    'object array over a given buffer': call(NDARRAY, (1,), dtype('O8'), raw(POINTER)),
    'object array over a given buffer, new': new(NDARRAY, (1,), dtype('O8'), raw(POINTER)),
    'object array over a given buffer, its type as named': call(
        NDARRAY, (1,), call('numpy.dtype', 'O8', False, True), raw(POINTER)
    ),
    'object array over a given buffer, by its name alone': call(NDARRAY, (1,), 'O', raw(POINTER)),
    'an object as a number, its type as named': call(
        SCALAR, call('numpy.dtype', 'O8', False, True), raw(POINTER)
    ),
    'array over a given buffer': call(NDARRAY, (1,), dtype('f8'), raw(bytes(8))),
    'array beyond its buffer': call(NDARRAY, (99,), dtype('f8'), raw(bytes(8)), 0, (4096,)),
    'array before its buffer': call(NDARRAY, (1,), dtype('f8'), raw(bytes(8)), -4096),
    'array of no buffer': call(NDARRAY, (10**12,), dtype('f8')),
    'array class with a state': built(new(NDARRAY), (1, (1,), dtype('O8'), False, [1])),
    'objects from bytes': array('O8', (1,), POINTER),
    'objects from a list': array('O8', (1,), content_as=value([POINTER])),
    'objects by another letter': array('O', (1,), POINTER),
    'raw memory': array('V8', (1,), POINTER),
    'records': array('V8', (1,), state=(3, '|', None, ('a',), {'a': (dtype('O8'), 0)}, 8, 1, 27)),
    'records of numbers': array('f8', state=(3, '<', None, ('a',), {}, 8, 1, 16)),
    'array in an array': array('f8', state=(3, '<', (dtype('f8'), (2,)), None, None, -1, -1, 0)),
    'dates': array('M8', (2,), state=(4, '<', None, None, None, -1, -1, 0, ({}, (b'N',)))),
    'durations': array('m8', (2,)),
    'a type by commas': array('f8,O'),
    'a type by a dict': built(
        EMPTY, (1, (2,), call('numpy.dtype', {'names': ['a']}), False, raw(bytes(16)))
    ),
    'a type by digits of another script': array('f\uff18'),
    'a type too large': array('S9999999999999', (1,)),
    'a type of no size': array('S0', (10**12,), b''),
    'a type without a name': built(EMPTY, (1, (2,), call('numpy.dtype'), False, raw(bytes(16)))),
    'a type that is an array': built(EMPTY, (1, (2,), array(), False, raw(bytes(16)))),
    'a byte order of its own': array('f8', state=(3, '?', None, None, None, -1, -1, 0)),
    'a state of another length': array('f8', state=(3, '<')),
    'the class of a type': call('numpy.dtypes.ObjectDType'),
    'a shape of 1.8 TiB': array('f8', (500_000, 500_000), bytes(16)),
    'a shape that overflows': array('f8', (2**33, 2**33, 2**62), bytes(16)),
    'a shape below 0': array('f8', (-1, -2), bytes(16)),
    'a shape of truth values': array('f8', (True, 2), bytes(16)),
    'a shape of fractions': array('f8', (2.0,), bytes(16)),
    'a shape that is a list': array('f8', [2], bytes(16)),
    'a shape of 99 dimensions': array('f8', (1,) * 99, bytes(8)),
    'a shape of nothing by much': array('f8', (0, 2**62, 2**62), b''),
    'too few bytes': array('f8', (2,), bytes(15)),
    'too many bytes': array('f8', (2,), bytes(17)),
    'text for bytes': array('f8', (2,), content_as=value('x' * 16)),
    'a list for bytes': array('f8', (2,), content_as=value([0] * 16)),
    'an array for bytes': array('f8', (2,), content_as=array()),
    'an array without content': call(ARRAY, name(NDARRAY), (10**12,), raw(b'd')),
    'an array with half a state': built(EMPTY, (1, (2,))),
    'an array whose state is a list': built(EMPTY, [1, (2,), dtype('f8'), False, raw(bytes(16))]),
    'a type whose state is a list': array('f8', state=list(STATE)),
    'a type whose state is half one': array('f8', state=(3, '<', None, None, None)),
    'a byte order that is a number': array('f8', state=(3, 1, None, None, None, -1, -1, 0)),
    'a number of three parts': call(SCALAR, dtype('f8'), raw(bytes(8)), 1),
    'a log history of one list': history(counts=value(None)),
    'a log history of an endless length': history(longest=10.0),
    'a matrix': array(kind='numpy.matrix'),
    'a mapped file': call('numpy.memmap', 'x'),
    'records of numpy': call('numpy.rec.array', [1]),
    'objects as a number': call(SCALAR, dtype('O8'), raw(POINTER)),
    'raw memory as a number': call(SCALAR, dtype('V8'), raw(POINTER)),
    'a number of other bytes': call(SCALAR, dtype('f8'), raw(bytes(4))),
    'a number without a type': call(SCALAR, raw(bytes(8))),
    'a number of a type that is text': call(SCALAR, 'f8', raw(bytes(8))),
    'the same megabyte a thousand times': value(
        [array('u1', (10**6,), content_as=kept(raw(bytes(10**6)), 1))]
        + [array('u1', (10**6,), content_as=again(1))] * 1000
    ),
    'an array inside itself': kept(EMPTY, 1)
    + value((1, (1,), dtype('f8'), False, again(1)))
    + b'b',
    'a log history inside itself': kept(new(HISTORY), 1)
    + value({'_log_history': again(1), '_count_history': again(1), 'max_length': 3})
    + b'b',
    'an array as a key': value({array(): 1}),
    'an array in a key': value({(1, array()): 1}),
    'an array in a set': call('builtins.set', [array()]),
    'bytes to measure': call('builtins.bytes', 10**12),
    'bytes of a list': call('builtins.bytes', [1, 2]),
    'a log history without a state': new(HISTORY),
    'a log history called': call(HISTORY, [1], [1]),
    'a log history of lists': history([1.0], [1]),
    'a log history of objects': history(array('O8', (1,), POINTER), array('O8', (1,), POINTER)),
    'a log history of text': history(array('U4'), array('U4')),
    'a log history of two lengths': history(array(), array('f8', (1,), bytes(8))),
    'a log history of two dimensions': history(array('f8', (1, 2)), array('f8', (1, 2))),
    'a log history of no length': history(longest=0),
    'a log history of a length that is text': history(longest='9' * 9),
    'a log history whose state is a list': built(new(HISTORY), [1, 2]),
    'any attribute': call('builtins.getattr', name(HISTORY), '__init__'),
    'the attribute that registers': call('builtins.getattr', name(HISTORY), 'register_statistics'),
    'the class of all classes': call('builtins.getattr', name(HISTORY), '__class__'),
    'an attribute of an array': call('builtins.getattr', name(NDARRAY), 'tofile'),
    'the module of builtins': call('builtins.getattr', name('builtins.eval'), '__self__'),
    'a statistic called': call(call('builtins.getattr', name(HISTORY), 'max')),
    'a command': call('os.system', 'touch MARK'),
    'a command by subprocess': call('subprocess.check_call', ['touch', 'MARK']),
    'a command by posix': call('posix.system', 'touch MARK'),
    'a command inside an array': array(
        'O8', (1,), content_as=value([call('os.system', 'touch MARK')])
    ),
    'code': call('builtins.exec', "open('MARK', 'w')"),
    'code by numpy': call('numpy.testing._private.utils.runstring', "open('MARK', 'w')", {}),
    'a file to open': call('builtins.open', 'MARK', 'w'),
    'a file of numpy': call('numpy.load', 'MARK'),
    'bytes of a file': call('numpy.fromfile', 'MARK'),
    'memory by address': call('ctypes.string_at', 1),
    'an import': call('builtins.__import__', 'antigravity'),
    'a class of ours': call('mmpose_kd.core.safe_loading.Builder', 10**12),
    'a stand-in of ours': call('mmpose_kd.core.safe_loading.NumpyArray'),
    'a name with dots': b'cnumpy\nndarray.tofile\n',
    'a class that is changed': built(name(HISTORY), {'min': 1}),
    'a function that is changed': built(name('_codecs.encode'), (None, {'__doc__': 'x'})),
    'an array in the versions of a state dict': built(
        call('collections.OrderedDict'), {'_metadata': array('O8', (1,), POINTER)}
    ),
    'an old way to make': b'(i' + b'os\nsystem\n',
    'another old way to make': b'(' + name('os.system') + value('touch MARK') + b'o',
    'an extension by number': b'\x82\x01',
    'nothing at all': b'',
    'more taken than given': b'0',
    'an empty memo': again(7),
    'a tuple of nothing': b't',
}

# This loads, and is what it says.
HARMLESS = {
    'an array': array(),
    'an array by columns': array('f8', (1, 2), columns=True),
    'an array of the other byte order': array('f8', state=(3, '>', None, None, None, -1, -1, 0)),
    'an array of text': array('U2'),
    'an empty array': array('f4', (0,), content_as=call('builtins.bytes')),
    'a number': call(SCALAR, dtype('f8'), raw(bytes(8))),
    'a log history': history(),
    'a log history with statistics of its own': history(
        statistics_methods={
            'mean': name(NDARRAY),
            'evil': call('builtins.getattr', name(HISTORY), 'max'),
        }
    ),
    'a log history with more': history(__class__='x', statistics='x', update=1),
    'an array twice': value([kept(array(), 1), again(1)]),
}
