"""How the weight of a distillation loss moves over the epochs: one type for all methods."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Union

from mmengine.logging import MessageHub


def is_number(value) -> bool:
    """Whether a setting is a number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def checked_weight(weight: float, key: str) -> float:
    """A loss's weight, if it is a number, 0 or more.

    Args:
        weight: As the config has it.
        key: Name of the config key, for the message.

    Raises:
        ValueError: It is none.
    """
    if not is_number(weight) or not 0 <= weight < math.inf:
        raise ValueError(f'{key}={weight!r}: give a number, 0 or more')
    return weight


@dataclass(frozen=True)
class Schedule:
    """A factor in [0, 1] as a function of the epoch.

    Epochs count from 0. Every setting in epochs is either an int, or a float in (0, 1) that
    means this share of the run's ``max_epochs``.

    Args:
        type: ``'constant'``: 1. ``'ramp_up'``: exp(-5 (1 - min(e, E) / E)^2), the ramp of
            OKDHP, with E = ``epochs``. ``'linear_decay'``: 1 - e / E, at least 0, as DWPose's
            distiller does with E = ``max_epochs``.
        epochs: E above. None is the whole run.
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

    def __post_init__(self):
        if self.type not in ('constant', 'ramp_up', 'linear_decay'):
            raise ValueError(
                f'{self.key}.type={self.type!r}: choose constant, ramp_up or linear_decay'
            )
        for name in ('epochs', 'start', 'stop'):
            value = getattr(self, name)
            if value is None:
                continue
            lowest = 0 if name == 'start' else 1
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f'{self.key}.{name}={value!r}: give a number of epochs')
            is_share = isinstance(value, float) and 0 < value < 1
            if not (is_share or (isinstance(value, int) and value >= lowest)):
                raise ValueError(
                    f'{self.key}.{name}={value!r}: give a whole number of epochs (at least '
                    f'{lowest}), or a float in (0, 1) for a share of the run'
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
        try:
            return cls(**{**(cfg or {}), 'key': key})
        except TypeError as error:
            raise ValueError(f'{key}={cfg!r}: {error}') from error

    def factor(self, epoch: float, max_epochs: int) -> float:
        """The factor at an epoch of a run of ``max_epochs`` epochs."""

        def in_epochs(value):
            return value * max_epochs if 0 < value < 1 else value

        start = in_epochs(self.start)
        if epoch < start or (self.stop is not None and epoch >= in_epochs(self.stop)):
            return 0.0
        length = in_epochs(self.epochs) if self.epochs else max(max_epochs - start, 1)
        done = min((epoch - start) / length, 1.0)
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
        """
        info = MessageHub.get_current_instance().runtime_info
        if not info.get('max_epochs'):
            return self.factor(0, 1)
        if info['max_epochs'] == 1 and info.get('max_iters'):
            return self.factor(info.get('iter', 0) / info['max_iters'], 1)
        return self.factor(info.get('epoch', 0), info['max_epochs'])
