"""How the weight of a distillation loss moves over the epochs: one type for all methods."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import Optional, Union

from mmengine.logging import print_log

from .checks import built, checked_choice, is_number, is_whole, refusal
from .run import counts_iterations, run_info

WARN_BELOW = 0.9  # warn if a schedule reaches less than this share of the weight
TYPES = ('constant', 'ramp_up', 'linear_decay')


@dataclass(frozen=True)
class Schedule:
    """A factor in [0, 1] as a function of the epoch.

    Epochs count from 0. Every setting in epochs is either an int, or a float in (0, 1) that
    means this share of the run's ``max_epochs``.

    Args:
        type: ``'constant'``: 1. ``'ramp_up'``: exp(-5 (1 - min(e, E) / E)^2), the ramp of
            OKDHP, with E = ``epochs`` and e the epochs since ``start``. ``'linear_decay'``:
            1 - e / E, at least 0, as DWPose's distiller does with E = ``max_epochs``.
        epochs: E, counted from ``start``. None: from ``start`` to the end of the run.
        start: The factor is 0 before this epoch; ramp and decay begin to count here.
        stop: The factor is 0 from this epoch on. None: never.
        key: Name of the config key, for messages only.

    Raises:
        ValueError: Unknown type, or a number out of range.
    """

    type: str = 'constant'
    epochs: Optional[Union[int, float]] = None
    start: Union[int, float] = 0
    stop: Optional[Union[int, float]] = None
    key: str = 'schedule'
    #: length of the run that it was compared with
    _checked: Optional[tuple] = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self):
        checked_choice(self.type, f'{self.key}.type', TYPES)
        for name in ('epochs', 'start', 'stop'):
            value = getattr(self, name)
            if value is None and name != 'start':
                continue
            lowest = 0 if name == 'start' else 1
            share = is_number(value) and 0 < value < 1
            if not share and not (is_whole(value) and value >= lowest):
                raise refusal(
                    f'{self.key}.{name}',
                    value,
                    f'give a whole number of epochs, {lowest} or more, or a float in (0, 1) for a '
                    'share of the run',
                )

        if self.type == 'constant' and self.epochs is not None:
            raise ValueError(
                f"{self.key}.epochs={self.epochs!r} has no meaning with type='constant': give "
                'ramp_up or linear_decay, or use start and stop'
            )

    @classmethod
    def build(cls, cfg: Union[None, dict, Schedule], key: str = 'schedule') -> Schedule:
        """From a config: None is constant, a dict gives the arguments."""
        if isinstance(cfg, Schedule):
            return cfg
        return built(cls, {} if cfg is None else cfg, key)

    def factor(self, epoch: float, max_epochs: int) -> float:
        """The factor at an epoch of a run of ``max_epochs`` epochs."""

        def in_epochs(value):
            return value * max_epochs if 0 < value < 1 else value

        start = in_epochs(self.start)
        if epoch < start or (self.stop is not None and epoch >= in_epochs(self.stop)):
            return 0.0
        length = in_epochs(self.epochs) if self.epochs else max_epochs - start
        done = min((epoch - start) / max(length, 1e-9), 1.0)
        if self.type == 'ramp_up':
            return math.exp(-5.0 * (1.0 - done) ** 2)
        if self.type == 'linear_decay':
            return 1.0 - done
        return 1.0

    def now(self) -> float:
        """The factor at the epoch that MMEngine's message hub holds.

        The hub is saved with every checkpoint, so a resumed run goes on as it would have. A run
        of one epoch, which is how MMEngine presents an iteration-based one, counts the share of
        its iterations that is done. Outside a Runner, where no epoch is known, the schedule
        stands at epoch 0 of 1.

        At the first call of a run it is compared with the run's length: see :meth:`check_run`.
        """
        max_epochs, max_iters = run_info('max_epochs'), run_info('max_iters')
        if not max_epochs:
            return self.factor(0, 1)
        if self._checked != (max_epochs, max_iters):
            object.__setattr__(self, '_checked', (max_epochs, max_iters))
            self.check_run(max_epochs)
        if max_epochs == 1 and max_iters:
            return self.factor((run_info('iter') or 0) / max_iters, 1)
        return self.factor(run_info('epoch') or 0, max_epochs)

    def check_run(self, max_epochs: int) -> None:
        """Compare with a run's length, before its first step; a warning if it hardly acts.

        Raises:
            ValueError: It never acts in a run of several epochs; or the run counts iterations,
                and a setting is a whole number of epochs.
        """
        whole = [n for n in ('epochs', 'start', 'stop') if (getattr(self, n) or 0) >= 1]
        if whole and counts_iterations():
            name = whole[0]
            raise refusal(
                f'{self.key}.{name}',
                getattr(self, name),
                'the run counts iterations and has no epochs; give a share of the run, a float '
                'in (0, 1)',
            )
        reached = self.largest_factor(max_epochs)
        if reached == 0 and max_epochs > 1:  # one epoch is to try something
            raise ValueError(
                f'{self.key}: start={self.start!r} and stop={self.stop!r} leave the factor of the '
                f'distillation loss at 0 in the whole of this run of {max_epochs} epochs; give an '
                'earlier start or a later stop, or shares of the run, or leave the loss out'
            )
        if reached < WARN_BELOW:
            print_log(
                f'{self.key}: in this run of {max_epochs} epochs the factor of the distillation '
                f'loss reaches {reached:.2g} and no more; give {self.key} fewer epochs or an '
                'earlier start, or shares of the run, or train longer',
                'current',
                logging.WARNING,
            )

    def largest_factor(self, max_epochs: int) -> float:
        """The largest factor of a run of ``max_epochs`` epochs."""
        steps = 100 if max_epochs == 1 else max_epochs  # one epoch counts by its iterations
        return max(self.factor(i * max_epochs / steps, max_epochs) for i in range(steps))
