"""Capture what submodules put out while a forward pass runs, without a trace afterwards."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Callable, NamedTuple

from mmpose.models.heads.base_head import BaseHead
from torch import Tensor, nn

PATH = re.compile(r'(?P<path>[^\[\]]+)(\[(?P<index>-?\d+)\])?')


@contextmanager
def replaced(owner, name: str, value) -> Iterator[None]:
    """Give an object another attribute for a while, and leave no trace of it."""
    own = vars(owner)
    before = {name: own[name]} if name in own else {}
    own[name] = value
    try:
        yield
    finally:
        del own[name]
        own.update(before)


@contextmanager
def head_outputs(head: nn.Module, keep: Callable) -> Iterator[None]:
    """Call ``keep`` with what ``head.forward`` returns, each time it is run.

    MMPose's heads are run by their methods, which call ``forward`` themselves, so that no
    forward hook sees it. Their losses stay the stock ones and need no second pass.
    """
    forward = head.forward

    def kept(*args, **kwargs):
        output = forward(*args, **kwargs)
        keep(output)
        return output

    with replaced(head, 'forward', kept):
        yield


@contextmanager
def returned_by(head: nn.Module) -> Iterator[list]:
    """Collect what ``head.forward`` returns."""
    outputs: list = []
    with head_outputs(head, outputs.append):
        yield outputs


class OutputPath:
    """A place in a model whose output can be captured.

    Args:
        model: The model.
        name: Path of a submodule, as in ``model.named_modules()``: ``'head.final_layer'``. A
            submodule with several outputs is followed by the number of one: ``'backbone[-1]'``.
            ``'head'`` is what the head's ``forward`` returns.
        key: Name of the config key, for messages.

    Raises:
        ValueError: No such submodule; the nearest names are listed.
    """

    def __init__(self, model: nn.Module, name: str, key: str):
        match = PATH.fullmatch(name) if isinstance(name, str) else None
        if match is None:
            raise ValueError(f"{key}={name!r}: give a submodule's path, like 'head.final_layer'")
        self.name, self.key = name, key
        self.path = match['path']
        self.index = None if match['index'] is None else int(match['index'])
        names = [n for n, _ in model.named_modules() if n]
        if self.path not in names:
            near = difflib.get_close_matches(self.path, names, n=5, cutoff=0.4)
            last = self.path.rpartition('.')[2]
            near += [n for n in names if n.rpartition('.')[2] == last and n not in near][:5]
            raise ValueError(
                f'{key}={name!r}: {type(model).__name__} has no submodule {self.path!r}, give one '
                f'that it has; near ones: {", ".join(near) or "none"}'
            )

    def pick(self, output) -> Tensor:
        """The one tensor that is meant.

        Raises:
            ValueError: There are several outputs and no number or one out of range; a number, but
                one output; or what it picks is no tensor.
        """
        if isinstance(output, Tensor) and self.index is None:
            return output
        if isinstance(output, (list, tuple)):
            index = 0 if self.index is None and len(output) == 1 else self.index
            found = f'{len(output)} outputs'
            hint = f": give one of them, as '{self.path}[-1]'"
            if index is not None and -len(output) <= index < len(output):
                if isinstance(output[index], Tensor):
                    return output[index]
                found = f'{found}, of which number {index} is a {type(output[index]).__name__}'
                hint = ', not a tensor: give another submodule'
        else:
            found, hint = f'a {type(output).__name__}', ''
        raise ValueError(f'{self.key}={self.name!r}: this submodule returns {found}{hint}')


class Captured(NamedTuple):
    """An output, and how often it had been changed in place when it was captured."""

    output: Tensor
    version: int


@contextmanager
def capture(model: nn.Module, paths: Sequence[OutputPath]) -> Iterator[dict[str, Captured]]:
    """Collect the outputs of one forward pass by name, for :func:`captured_output`.

    Of a submodule that is called several times the last output stays. Outputs keep their
    gradient. Hooks are there for this one pass only, so that copies of the model (EMA) never
    carry them.
    """
    captured: dict[str, Captured] = {}

    def keeper(path: OutputPath) -> Callable:
        def keep(output) -> None:
            picked = path.pick(output)
            captured[path.name] = Captured(picked, picked._version)

        return keep

    with ExitStack() as stack:
        for path in paths:
            module, keep = model.get_submodule(path.path), keeper(path)
            if isinstance(module, BaseHead):
                stack.enter_context(head_outputs(module, keep))
            else:
                hook = module.register_forward_hook(lambda m, inputs, out, keep=keep: keep(out))
                stack.callback(hook.remove)
        yield captured


def captured_output(captured: dict[str, Captured], path: OutputPath) -> Tensor:
    """The output at a place after the pass.

    Raises:
        RuntimeError: The submodule was not called.
        ValueError: Its output was changed in place afterwards.
    """
    if path.name not in captured:
        raise RuntimeError(
            f'{path.key}={path.name!r}: this submodule was not called in the forward pass, so '
            "there is no output to capture: name another one, like 'head' or 'head.final_layer'"
        )
    output, version = captured[path.name]
    if output._version != version:
        raise ValueError(
            f'{path.key}={path.name!r}: its output is changed in place by the layer after it (an '
            'in-place ReLU, for one), so it is not what this submodule gave: name the layer or '
            'block after it'
        )
    return output
