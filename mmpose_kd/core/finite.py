"""NaN and infinity: refused in frozen models, and in distillation losses before they do harm."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence
from typing import Optional

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.autograd import Variable

from .checks import checked_choice
from .run import run_info

NON_FINITE = ('stop', 'skip')

AT_ONCE = ('cpu',)  # devices whose values can be read without waiting


class NonFiniteError(ValueError):
    """NaN or infinity where training would spread it."""


def check_weights(model: nn.Module, where: str, give: str) -> None:
    """Refuse a frozen model with a weight that is NaN or infinite; buffers that are saved count.

    Args:
        model: The model, with its weights in it.
        where: Name of the config key that it comes from.
        give: What to do, as the rest of a sentence.

    Raises:
        NonFiniteError: There is one; the first is named.
    """
    weights = {
        name: value
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor) and value.is_floating_point() and not value.is_meta
    }
    if not weights:
        return
    # one answer of the device for all of them
    good = torch.stack([value.isfinite().all() for value in weights.values()]).tolist()
    bad = [name for name, one in zip(weights, good) if not one]
    if bad:
        raise NonFiniteError(
            f'{where}: {len(bad)} of {len(weights)} weights are not finite, the first is '
            f'{bad[0]} ({_count(weights[bad[0]])}): {give}'
        )


def check_outputs(named: dict[str, Tensor], where: str, give: str) -> None:
    """Refuse what a frozen model puts out if it is not finite; this waits for the device.

    Raises:
        NonFiniteError: It is not; output and number of values are named.
    """
    found = not_finite(named)
    if found:
        raise NonFiniteError(f'{where}: {found}: {give}')


def not_finite(named: dict[str, Tensor]) -> str:
    """In words which of the tensors have values that are not finite; '' if none."""
    bad = {
        name: value
        for name, value in named.items()
        if not value.is_meta and not bool(value.isfinite().all())
    }
    return ', '.join(
        f'{name} has {_count(value)} that are not finite' for name, value in bad.items()
    )


def _count(value: Tensor) -> str:
    return f'{int((~value.isfinite()).sum())} of {value.numel()} values'


class LossGuard:
    """What is done with a distillation loss that is NaN or infinite.

    ``'stop'`` ends the training with the loss's name before the optimiser moves. The flag
    travels to the host while the device goes on, and is looked at when the backward pass has been
    handed to it, so that the device never waits. ``'skip'`` leaves the loss out of the step, says
    so, and counts it in ``skipped``, a number beside the losses for the log; the host has to wait
    for the losses in each step.

    All processes of a training stop, or skip, together. In mixed precision a step whose own
    losses overflow too is left to the gradient scaler.

    Args:
        how: One of both.
        key: Name of the config key that holds ``non_finite``, for messages.

    Raises:
        ValueError: ``how`` is neither.
    """

    def __init__(self, how: str, key: str):
        self.key = f'{key}.non_finite'
        self.how = checked_choice(how, self.key, NON_FINITE)
        self.skipped = 0

    def __call__(
        self,
        losses: dict,
        names: Sequence[str],
        own: Tensor,
        idle: Callable[[str], object],
        look: Optional[Callable[[], str]] = None,
    ) -> None:
        """Look at the distillation losses of a step.

        Args:
            losses: All losses by name; what is skipped is replaced in it.
            names: The distillation losses' names.
            own: The sum of the plain model's losses.
            idle: From a name to a loss of 0 that still reaches the loss's own weights, for
                processes that train together.
            look: Where the fault comes from, in words, if that can be told.

        Raises:
            NonFiniteError: With ``'stop'`` on the CPU; on other devices at the end of the
                backward pass.
        """
        if not names or own.is_meta:
            return
        scalars = [losses[name].detach().float() for name in names]
        scalars = [x if x.ndim == 0 else x.sum() for x in scalars]
        # last what decides in mixed precision alone; all else is done on the host
        looked_at = [*scalars, own.detach().float()] if torch.is_autocast_enabled() else scalars
        values = over_processes(torch.stack(looked_at))
        if self.how == 'skip':
            self._skip(losses, names, scalars, _good(values, len(names)), idle)
        elif values.device.type in AT_ONCE:
            self._stop(names, scalars, values, look)
        else:
            self._stop_after_backward(losses, names, scalars, values, look)

    def _skip(self, losses: dict, names, scalars: list[Tensor], good: list[bool], idle) -> None:
        for name, scalar, one in zip(names, scalars, good):
            if one:
                continue
            self.skipped += 1
            if self.skipped & (self.skipped - 1) == 0:  # the first, second, fourth, eighth, ...
                print_log(
                    f'{name} is {float(scalar)}{_when()} and is left out of the '
                    f'step; that makes {self.skipped} in this run',
                    'current',
                    logging.WARNING,
                )
            losses[name] = torch.zeros_like(losses[name].detach()) + idle(name)
        losses['skipped'] = torch.full_like(scalars[0], float(self.skipped))

    def _stop(self, names: Collection[str], scalars: list[Tensor], values: Tensor, look) -> None:
        good = _good(values, len(names))
        if all(good):
            return
        here = [float(x) for x in scalars]
        bad = [
            f'{name} is {value}{" here, and not finite in another process" * math.isfinite(value)}'
            for name, value, one in zip(names, here, good)
            if not one
        ]
        found = look() if look is not None else ''
        raise NonFiniteError(
            f'{", ".join(bad)}{_when()}{f" ({found})" if found else ""}: lower the weight or the '
            f"learning rate, or give {self.key}='skip' to leave such a loss out of its step"
        )

    def _stop_after_backward(self, losses: dict, names, scalars, values: Tensor, look) -> None:
        traced = next((losses[name] for name in names if losses[name].requires_grad), None)
        if traced is None:
            return
        # only into pinned memory a copy goes on while the host does
        on_host = torch.empty(values.shape, dtype=values.dtype, pin_memory=values.is_cuda)
        on_host.copy_(values, non_blocking=values.is_cuda)
        arrived = None
        if values.is_cuda:
            arrived = torch.cuda.Event()
            arrived.record()

        def at_the_end():
            if arrived is not None:
                arrived.synchronize()  # long past: the device is at work on the backward pass
            self._stop(names, scalars, on_host, look)

        def in_backward(gradient: Tensor) -> Tensor:
            Variable._execution_engine.queue_callback(at_the_end)
            return gradient

        traced.register_hook(in_backward)


def over_processes(values: Tensor) -> Tensor:
    """The sums of values (N,) over all processes: finite only what is so in each of them."""
    if get_world_size() > 1:
        all_reduce(values, op='sum')
    return values


def _good(values: Tensor, count: int) -> list[bool]:
    """Of the first ``count`` values which are finite; all if one behind them is not."""
    finite = [math.isfinite(value) for value in values.tolist()]
    return [one or not all(finite[count:]) for one in finite[:count]]


def _when() -> str:
    step = run_info('iter')
    return '' if step is None else f' in iteration {step + 1}'


def idle_loss(*modules: Optional[nn.Module]):
    """A loss of 0 that reaches the weights of modules, for processes that train together."""
    return sum(
        (
            p.sum() * 0.0
            for m in modules
            if m is not None
            for p in m.parameters()
            if p.requires_grad
        ),
        0.0,
    )
