"""A factor that makes one loss's gradient at shared features as large as another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Union

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn

from .checks import built, checked_number, checked_whole, refusal

LARGEST = 1e6  # of the factor

SCALE = 1024.0  # in half precision small gradients would be 0 without it


class GradientBalance(nn.Module):
    r"""Factor c by which an auxiliary loss pulls at shared features as strongly as the main one.

    .. math:: c = \overline{\|\partial L / \partial f\|}
        \; / \; \overline{\|\partial L_{aux} / \partial f\|}

    with the L2 norms over the whole batch's features f, and running averages of them. They are
    measured at each of the first ``warmup`` steps and at every ``interval``-th later, by a
    backward pass through the heads alone; other steps cost nothing. The n-th measurement has a
    share of 1 / n in the average, later ``momentum``, and a later one counts for at most ``limit``
    times the average and at least its ``limit``-th part: no single one decides for many steps. c
    itself stays between 1e-6 and 1e6 (RLE needs 1e5 at its start).

    The averages and the step are buffers: a resumed run goes on as it would have. Of several
    processes all get the same factor, and the averages are those of one process with their
    batches together. A norm that is 0 or not finite (a batch without labels, an overflow in half
    precision) changes nothing.

    Args:
        interval (int): Steps between two measurements, at least 1.
        momentum (float): Least share of a new measurement in the average, in (0, 1].
        warmup (int): Steps at the beginning that are all measured, at least 1.
        limit (float): How far from the average a measurement after the warmup counts, at least 1.
        key (str): Name of the config key, for messages.

    Raises:
        ValueError: A setting out of its range.
    """

    def __init__(
        self,
        interval: int = 20,
        momentum: float = 0.1,
        warmup: int = 10,
        limit: float = 10.0,
        key: str = 'balance',
    ):
        super().__init__()
        self.key = key
        self.interval = checked_whole(interval, f'{key}.interval', least=1, of='steps')
        self.momentum = checked_number(momentum, f'{key}.momentum', above=0, most=1)
        self.warmup = checked_whole(warmup, f'{key}.warmup', least=1, of='steps')
        self.limit = checked_number(limit, f'{key}.limit', least=1)
        self.register_buffer('norms', torch.zeros(2))  # of the main and the auxiliary loss
        self.register_buffer('step', torch.zeros((), dtype=torch.long))
        self._step = None  # the same as a number: no step waits for the device, or writes to it
        self._factor: Optional[Tensor] = None  # of the norms that _norms names
        self._norms: Optional[tuple[int, int]] = None

    @classmethod
    def build(cls, settings: Union[bool, dict], key: str = 'balance') -> Optional[GradientBalance]:
        """From a config: True gives the defaults, a dict the arguments, False no balance.

        Raises:
            ValueError: It is none of these, or a setting is unknown or out of its range.
        """
        if settings is False:
            return None
        if settings is not True and not isinstance(settings, dict):
            raise refusal(key, settings, 'give True, False or a dict')
        return built(cls, {} if settings is True else settings, key)

    def settle(self, ahead: int) -> None:
        """Be past the warm-up, with the next measurement after so many steps."""
        periods = -(-(self.warmup + ahead) // self.interval)
        self._step = periods * self.interval - ahead

    def _save_to_state_dict(self, *args, **kwargs):
        if self._step is not None:
            self.step.fill_(self._step)
        super()._save_to_state_dict(*args, **kwargs)

    def _load_from_state_dict(self, *args, **kwargs):
        self._step = None
        super()._load_from_state_dict(*args, **kwargs)

    def forward(self, main: Tensor, auxiliary: Tensor, features: Sequence[Tensor]) -> Tensor:
        """The factor, a constant scalar; measures if it is time to.

        Args:
            main, auxiliary: The two losses, scalars. Their graphs are kept.
            features: What both are computed from. One that only one of them depends on does not
                count, unless they have none in common.

        Raises:
            ValueError: Between them and a loss are layers with torch's reentrant checkpoint.
        """
        if self._step is None:
            self._step = int(self.step)
        shared = [f for f in features if f.requires_grad]
        if torch.is_grad_enabled() and shared:
            if self._step < self.warmup or self._step % self.interval == 0:
                self._measure(main, auxiliary, shared)
            self._step += 1
        norms = id(self.norms), self.norms._version  # others after each change in place
        if self._factor is None or self._norms != norms:
            self._factor, self._norms = self._of_norms(), norms
        return self._factor

    def _of_norms(self) -> Tensor:
        main_norm, auxiliary_norm = self.norms.unbind()
        measured = (main_norm > 0) & (auxiliary_norm > 0)
        factor = torch.where(measured, main_norm / auxiliary_norm.clamp(min=1e-30), 1.0)
        return factor.clamp(1 / LARGEST, LARGEST)

    def _squares(self, main: Tensor, auxiliary: Tensor, shared: list[Tensor]) -> list[Tensor]:
        """Square norms of both losses' gradients, at the features that both depend on."""
        try:
            found = [_square_norms(loss, shared) for loss in (main, auxiliary)]
        except RuntimeError as error:
            if 'checkpoint' not in str(error).lower():
                raise
            raise ValueError(
                f'{self.key}: gradients cannot be measured through layers that torch runs again '
                'in the backward pass (backbone.with_cp=True): give with_cp=False in the config '
                f'of the backbone, or {self.key}=False'
            ) from error
        common = [pair for pair in zip(*found) if all(s is not None for s in pair)]
        if common:
            found = list(zip(*common))
        zero = main.new_zeros((), dtype=torch.float32)
        return [sum((s for s in squares if s is not None), zero).detach() for squares in found]

    def _measure(self, main: Tensor, auxiliary: Tensor, shared: list[Tensor]) -> None:
        squares = torch.stack(self._squares(main, auxiliary, shared))
        # a loss is a mean over its process's batch, 1 / W of them all, and so is each gradient
        processes = get_world_size()
        all_reduce(squares, op='mean')
        found = (squares / processes).sqrt()
        good = (torch.isfinite(found) & (found > 0)).all()
        if self._step >= self.warmup:
            near = found.clamp(self.norms / self.limit, self.norms * self.limit)
            found = torch.where(self.norms > 0, near, found)
        warm = min(self._step, self.warmup)
        count = warm + max(self._step - warm, 0) // self.interval + 1
        moved = self.norms.lerp(found, max(1 / count, self.momentum))
        moved = torch.where(self.norms > 0, moved, found)
        self.norms.copy_(torch.where(good, moved, self.norms))


def _square_norms(loss: Tensor, shared: list[Tensor]) -> list[Optional[Tensor]]:
    """Of the gradient at each feature; None where the loss does not depend on it."""
    gradients = torch.autograd.grad(loss * SCALE, shared, retain_graph=True, allow_unused=True)
    return [None if g is None else (g.float() / SCALE).square().sum() for g in gradients]
