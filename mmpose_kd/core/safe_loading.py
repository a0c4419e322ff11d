"""Training checkpoints of MMEngine load under torch's safe loader, which alone refuses them.

``torch.load(..., weights_only=True)`` serves tensors and plain containers. MMEngine's Runner also
saves numpy arrays and numbers and the log history (``HistoryBuffer``). For those, and only while
one of our readers or a loader of MMEngine reads a file, torch is lent stand-ins: classes that keep
what the file says and do nothing with it. When the file is read, the true objects are built from
them: arrays of numbers or text from bytes of exactly the right length, log histories from two such
arrays. Neither numpy's nor MMEngine's own unpickling ever sees what a file says, and plain
``torch.load`` stays torch's.
"""

from __future__ import annotations

import math
import os
import pickle
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict
from contextlib import contextmanager
from pickle import UnpicklingError
from types import SimpleNamespace
from typing import Any, Callable, Union

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
from packaging.version import Version

HISTORY_STATISTICS = ('min', 'max', 'current', 'mean')
NUMBERS_AND_TEXT = 'biufcSU'  # kinds of numpy's types: no objects, records, raw memory or dates
MAX_DIMENSIONS = 32  # of an array, as in numpy 1


class StandIn:
    """What a file says about an object, which :class:`Builder` builds when the file is read."""

    said: tuple = ()  # the arguments that it was to be made with
    state: Any = None  # and what was to be set then

    def __init__(self, *said):
        self.said = said

    def __setstate__(self, state):
        self.state = state

    def build(self, builder: Builder):
        """The object.

        Raises:
            pickle.UnpicklingError: It is none that MMEngine writes.
        """
        raise UnpicklingError(f'it makes a {type(self).__name__} of its own choice')


class NumpyClass(StandIn):
    """For ``numpy.ndarray``, which files name; nothing is made of it."""


class NumpyType(StandIn):
    """For ``numpy.dtype``: a name such as ``'f8'``, then the byte order."""

    def build(self, builder: Builder) -> np.dtype:
        """The type: of numbers, truth values or text of a fixed length."""
        name = self.said[0] if self.said else None
        known = type(name) is str and name[:1] in tuple(NUMBERS_AND_TEXT)
        if not known or not name[1:].isascii() or not name[1:].isdecimal() or len(name) > 12:
            raise UnpicklingError(f'it has an array of type {name!r}, not of numbers or text')
        # (version, byte order, subarray, names, fields, size, alignment, flags)
        state = self.state or (3, '=', None, None, None, -1, -1, 0)
        plain = type(state) is tuple and len(state) == 8 and state[2:5] == (None, None, None)
        if not plain or type(state[1]) is not str or state[1] not in ('<', '>', '|', '='):
            raise UnpicklingError('it has an array of records')
        return np.dtype(name).newbyteorder(state[1])


class NumpyArray(StandIn):
    """For numpy's ``_reconstruct``, which makes an empty array; its content is set then."""

    def build(self, builder: Builder) -> np.ndarray:
        """The array, a copy of the file's bytes, which must have the length of its shape."""
        if type(self.state) is not tuple or len(self.state) != 5:
            raise UnpicklingError('it has an array without content')
        _, shape, dtype, by_columns, raw = self.state
        if type(shape) is not tuple or len(shape) > MAX_DIMENSIONS:
            raise UnpicklingError('it has an array whose shape is none')
        if not all(type(size) is int and size >= 0 for size in shape):
            raise UnpicklingError('it has an array whose shape is none')
        order = 'F' if by_columns is True else 'C'
        return builder.array(dtype, shape, raw).reshape(shape, order=order).copy(order)


class NumpyNumber(StandIn):
    """For numpy's ``scalar``: a type and the bytes of one number."""

    def build(self, builder: Builder) -> np.generic:
        """The number, truth value or text."""
        if len(self.said) != 2:
            raise UnpicklingError('it has a number without content')
        return builder.array(self.said[0], (), self.said[1])[0]


class LogHistory(StandIn):
    """For ``HistoryBuffer``."""

    def build(self, builder: Builder) -> HistoryBuffer:
        """A log history with the statistics of this process, whatever the file says of them."""
        state = self.state if type(self.state) is dict else {}
        values, counts = (builder(state.get(key)) for key in ('_log_history', '_count_history'))
        longest = state.get('max_length')
        for array in (values, counts):
            good = isinstance(array, np.ndarray) and array.dtype.kind in 'biuf'
            if not good or array.shape != (len(values),):
                raise UnpicklingError('it has a log history that is not two lists of numbers')
        if type(longest) is not int or longest < len(values):
            raise UnpicklingError(f'it has a log history of at most {longest!r} values')
        return HistoryBuffer(values, counts, longest)


def history_statistic(owner, name) -> str:
    """Stand in for ``getattr``: names one of the statistics that HistoryBuffer has.

    A file has them as ``getattr(HistoryBuffer, 'min')``.

    Raises:
        pickle.UnpicklingError: Anything else is asked for.
    """
    if owner is LogHistory and type(name) is str and name in HISTORY_STATISTICS:
        return name
    raise UnpicklingError(f'it asks for the attribute {name!r} of {owner!r}')


def empty_bytes() -> bytes:
    """Stand in for ``bytes``: how an empty numpy array is pickled.

    Given any arguments it raises a TypeError: no memory is allocated on a file's word.
    """
    return b''


def latin1_bytes(text, encoding) -> bytes:
    """Stand in for ``_codecs.encode``: how pickles of torch have bytes. New torch has its own.

    Raises:
        pickle.UnpicklingError: It is asked for anything else.
    """
    if type(text) is not str or encoding != 'latin1':
        raise UnpicklingError(f'it encodes a {type(text).__name__} as {encoding!r}')
    return text.encode('latin1')


STAND_INS: dict[str, Callable] = {
    'mmengine.logging.history_buffer.HistoryBuffer': LogHistory,
    'numpy.ndarray': NumpyClass,
    'numpy.dtype': NumpyType,
    'builtins.getattr': history_statistic,
    'builtins.bytes': empty_bytes,
    '_codecs.encode': latin1_bytes,
    # numpy 2 renamed the module: a file written under either loads under either
    'numpy.core.multiarray._reconstruct': NumpyArray,
    'numpy._core.multiarray._reconstruct': NumpyArray,
    'numpy.core.multiarray.scalar': NumpyNumber,
    'numpy._core.multiarray.scalar': NumpyNumber,
}


class Builder:
    """Builds in what a file holds the objects that the stand-ins stand for.

    Args:
        size: Of the file in bytes. All arrays together take no more.
    """

    def __init__(self, size: int):
        self.left = size
        self._built: dict[int, tuple] = {}  # by the id: what was given, which stays alive, and got

    def __call__(self, value):
        """The value with everything built, also inside lists, tuples and dicts.

        Raises:
            pickle.UnpicklingError: What a stand-in says cannot be built, or one stands where
                MMEngine puts none: in a set, as a key, inside itself.
        """
        if not isinstance(value, (StandIn, tuple, list, dict, set)):
            return value
        if id(value) not in self._built:
            changing = isinstance(value, (StandIn, tuple))
            self._built[id(value)] = value, _UNFINISHED if changing else value
            self._built[id(value)] = value, self._build(value)
        found = self._built[id(value)][1]
        if found is _UNFINISHED:
            raise UnpicklingError('it has an object inside itself')
        return found

    def _build(self, value):
        if isinstance(value, StandIn):
            return type(value).build(value, self)
        if isinstance(value, tuple):
            items = [self(item) for item in value]
            same = all(new is old for new, old in zip(items, value))
            return value if same else tuple(items)
        if isinstance(value, list):
            value[:] = [self(item) for item in value]
            return value
        if any(self(key) is not key for key in value):
            raise UnpicklingError('it has an array as a key')
        if isinstance(value, dict):
            for key, item in value.items():
                new = self(item)
                if new is not item:
                    value[key] = new
            if isinstance(value, OrderedDict):
                self(vars(value))  # of a state dict: the versions of its modules
        return value

    def array(self, dtype, shape: tuple, raw) -> np.ndarray:
        """The values of an array in one row, not to be written to.

        Args:
            dtype: A stand-in for their type.
            shape: Of the array.
            raw: Their bytes.

        Raises:
            pickle.UnpicklingError: ``raw`` has another length, or there is no room.
        """
        if not isinstance(dtype, NumpyType):
            raise UnpicklingError('it has an array without a type')
        dtype = self(dtype)
        if type(raw) is not bytes or math.prod(shape) * dtype.itemsize != len(raw):
            raise UnpicklingError(f'it has an array of shape {shape} of {dtype} in other bytes')
        self.left -= len(raw)
        if self.left < 0:
            raise UnpicklingError('it has arrays larger than the file')
        return np.frombuffer(raw, dtype) if raw else np.empty(0, dtype)


_UNFINISHED = object()


def has_list_of_globals() -> bool:
    """Whether torch's safe loader can be lent stand-ins; before 2.6 it cannot."""
    return Version(torch.__version__).release >= (2, 6)


def load_safely(file: Union[str, os.PathLike], map_location='cpu'):
    """Load a checkpoint of MMEngine; nothing in it is run, whoever wrote it.

    Torch before 2.6 has no list to lend the stand-ins to. There the same globals are served by
    :class:`StrictUnpickler`.

    Args:
        file: Path of the file.
        map_location: As in ``torch.load``.

    Raises:
        pickle.UnpicklingError: It holds something that MMEngine does not write.
        Exception: What ``torch.load`` raises of a truncated or foreign file, of many types.
    """
    if has_list_of_globals():
        with stand_ins_lent():
            saved = torch.load(file, map_location=map_location, weights_only=True)
    elif zipfile.is_zipfile(file):
        saved = load_strictly(file, map_location)
    else:  # of torch before 1.6, so none of MMEngine's
        saved = torch.load(file, map_location=map_location, weights_only=True)
    return _built(saved, os.path.getsize(file))


def load_strictly(file: Union[str, os.PathLike], map_location='cpu'):
    """Load with :class:`StrictUnpickler`; stand-ins are still stand-ins in what is returned."""
    with zipfile.ZipFile(file) as archive:
        if any(name.rpartition('/')[2] == 'constants.pkl' for name in archive.namelist()):
            raise UnpicklingError('it is a TorchScript archive')
    strict = SimpleNamespace(Unpickler=StrictUnpickler, __name__=__name__)
    return torch.load(file, map_location, strict, weights_only=False)


def load_from_local(filename: str, map_location):
    """MMEngine's loader of local files, with the stand-ins; torch's own settings hold.

    Args:
        filename: Path, also with ``~``.
        map_location: As in ``torch.load``.

    Raises:
        FileNotFoundError: No such file.
        Exception: What ``torch.load`` raises.
    """
    file = os.path.expanduser(filename)
    if not os.path.isfile(file):
        raise FileNotFoundError(f'{filename}: no such file')
    with stand_ins_lent():
        saved = torch.load(file, map_location=map_location)
    return _built(saved, os.path.getsize(file))


def register_loader() -> None:
    """Make :func:`load_from_local` MMEngine's, where torch refuses MMEngine's own files."""
    if has_list_of_globals():
        CheckpointLoader.register_scheme('', load_from_local, force=True)


@contextmanager
def stand_ins_lent():
    """Let torch's safe loader make stand-ins; what else is allowed stays so, for other names."""
    before = torch.serialization.get_safe_globals()
    lent = [(stand_in, name) for name, stand_in in STAND_INS.items()]
    others = [entry for entry in before if _name(entry) not in STAND_INS]
    try:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals([*others, *lent])
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _name(entry) -> str:
    """Of an entry of torch's list: an object, or one with its name."""
    if isinstance(entry, tuple):
        return entry[1]
    return f'{entry.__module__}.{getattr(entry, "__qualname__", "")}'


def _built(saved, size: int):
    try:
        return Builder(size)(saved)
    except RecursionError as error:
        raise UnpicklingError('it is nested too deeply') from error
    except UnpicklingError:
        raise
    except (TypeError, ValueError, OverflowError, MemoryError, AttributeError) as error:
        raise UnpicklingError(f'it has an array that cannot be built: {error}') from error


class StrictUnpickler(pickle._Unpickler):
    """Reads pickles as torch's safe loader does, for torch that cannot be lent stand-ins.

    The globals are those that torch's safe loader allows, and the stand-ins. Only those are
    called, state is only set on tensors, state dicts and stand-ins, items only on lists and dicts.
    """

    dispatch = {
        code: load
        for code, load in pickle._Unpickler.dispatch.items()
        if bytes([code])
        not in (pickle.INST, pickle.OBJ, pickle.NEWOBJ_EX, pickle.EXT1, pickle.EXT2, pickle.EXT4)
    }

    def find_class(self, module: str, name: str):
        """One of the allowed globals.

        Raises:
            pickle.UnpicklingError: Another one.
        """
        # names of Python 2, as protocol 2 has them
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        path = f'{module}.{name}'
        found = STAND_INS.get(path, torch_globals().get(path))
        if found is None:
            raise UnpicklingError(f'Unsupported global: GLOBAL {path}')
        return found

    def _allow(self, what, types: tuple) -> None:
        if not isinstance(what, types):
            raise UnpicklingError(f'it changes a {type(what).__name__}')

    def load_build(self):
        self._allow(self.stack[-2], (torch.Tensor, OrderedDict, StandIn))
        super().load_build()

    def load_setitem(self):
        self._allow(self.stack[-3], (dict,))
        super().load_setitem()

    def load_setitems(self):
        self._allow(self.metastack[-1][-1], (dict,))
        super().load_setitems()

    def load_append(self):
        self._allow(self.stack[-2], (list,))
        super().load_append()

    def load_appends(self):
        self._allow(self.metastack[-1][-1], (list,))
        super().load_appends()

    def load_additems(self):
        self._allow(self.metastack[-1][-1], (set,))
        super().load_additems()

    def load_reduce(self):
        self._called(self.stack[-2])
        super().load_reduce()

    def load_newobj(self):
        self._called(self.stack[-2])
        super().load_newobj()

    def _called(self, function) -> None:
        allowed = [*STAND_INS.values(), *torch_globals().values()]
        if not any(function is one for one in allowed):
            raise UnpicklingError(f'it calls {function!r}')

    for code, load in (
        (pickle.BUILD, load_build),
        (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems),
        (pickle.APPEND, load_append),
        (pickle.APPENDS, load_appends),
        (pickle.ADDITEMS, load_additems),
        (pickle.REDUCE, load_reduce),
        (pickle.NEWOBJ, load_newobj),
    ):
        dispatch[code[0]] = load
    del code, load


def torch_globals() -> dict[str, Any]:
    """What torch's safe loader allows by itself, by name; also what it does since 2.6."""
    since = {'collections.Counter': Counter, 'builtins.set': set}
    return {**since, **torch._weights_only_unpickler._get_allowed_globals()}
