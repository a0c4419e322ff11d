"""Catch what named submodules put out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Callable, NamedTuple

from mmpose.models.heads.base_head import BaseHead
from torch import Tensor, nn

from ..listening import telling

TAP = re.compile(r'(?P<path>[^\[\]]+)(\[(?P<index>-?\d+)\])?')


class Tap:
    """A place in a model whose output can be caught.

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
        match = TAP.fullmatch(name) if isinstance(name, str) else None
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
                f'{key}={name!r}: {type(model).__name__} has no submodule {self.path!r}; '
                f'near ones: {", ".join(near) or "none"}'
            )

    def pick(self, output) -> Tensor:
        """The one tensor that is meant.

        Raises:
            ValueError: There are several outputs and no number, or the number is too high.
        """
        if isinstance(output, Tensor) and self.index is None:
            return output
        if isinstance(output, (list, tuple)):
            index = 0 if self.index is None and len(output) == 1 else self.index
            if index is not None and -len(output) <= index < len(output):
                return output[index]
            found = f'{len(output)} outputs'
            hint = f": give one of them, as '{self.path}[-1]'"
        else:
            found, hint = f'a {type(output).__name__}', ''
        raise ValueError(f'{self.key}={self.name!r}: this submodule returns {found}{hint}')


class Caught(NamedTuple):
    """An output, and how often it had been changed in place when it was caught."""

    output: Tensor
    version: int


@contextmanager
def listen(model: nn.Module, taps: list[Tap]) -> Iterator[dict[str, Caught]]:
    """Collect the taps' outputs of one forward pass by name, for :func:`found`.

    Of a submodule that is called several times the last output stays. Hooks are there for this
    one pass only, so that copies of the model (EMA) never carry them.
    """
    caught: dict[str, Caught] = {}

    def catch(tap: Tap) -> Callable:
        def keep(output) -> None:
            picked = tap.pick(output)
            caught[tap.name] = Caught(picked, picked._version)

        return keep

    with ExitStack() as stack:
        for tap in taps:
            stack.enter_context(_told(model.get_submodule(tap.path), catch(tap)))
        yield caught


@contextmanager
def _told(module: nn.Module, tell: Callable) -> Iterator[None]:
    """Tell what a module puts out each time it is run."""
    if not isinstance(module, BaseHead):
        handle = module.register_forward_hook(lambda module, inputs, output: tell(output))
        try:
            yield
        finally:
            handle.remove()
        return

    with telling(module, tell):
        yield


def found(caught: dict[str, Caught], tap: Tap) -> Tensor:
    """The output of a tap after the pass.

    Raises:
        RuntimeError: The submodule was not called.
        ValueError: Its output was changed in place afterwards.
    """
    if tap.name not in caught:
        raise RuntimeError(
            f'{tap.key}={tap.name!r}: this submodule was not called in the forward pass, so there '
            "is no output to catch: name another one, like 'head' or 'head.final_layer'"
        )
    output, version = caught[tap.name]
    if output._version != version:
        raise ValueError(
            f'{tap.key}={tap.name!r}: its output is changed in place by the layer after it (an '
            'in-place ReLU, for one), so it is not what this submodule gave: name the layer or '
            'block after it'
        )
    return output
