"""When a student in training is frozen into a guide of its own later self."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Union

from ...schedule import is_number

MODES = ('generations', 'snapshots')


class GuidePlan:
    """Steps after which the student is frozen. A step is an epoch, or an iteration in a run that
    counts iterations.

    Args:
        guides: ``'generations'``: the run is cut into ``num_guides`` + 1 generations, and the
            student is frozen at the end of each but the last. ``'snapshots'``: it is frozen every
            ``interval`` steps. Other values: never.
        num_guides: How many guides there are at most; of snapshots the newest are kept.
        interval: Of ``'snapshots'``, in steps, or as a share of the run (a float in (0, 1)).
        lengths: Of ``'generations'``, relative to one another, one more than ``num_guides``.
            None: all the same.
        key: Name of the config key, for messages.

    Raises:
        ValueError: A setting that cannot be used.
    """

    def __init__(
        self,
        guides,
        num_guides: Optional[int] = None,
        interval: Union[None, int, float] = None,
        lengths: Optional[Sequence[float]] = None,
        key: str = 'DSKDHook',
    ):
        self.key = key
        self.mode = guides if guides in MODES else None
        self.name = self.mode or 'given'
        for name, value, mode in (
            ('num_guides', num_guides, None),
            ('interval', interval, 'snapshots'),
            ('lengths', lengths, 'generations'),
        ):
            if value is not None and (self.mode is None or mode not in (None, self.mode)):
                raise ValueError(
                    f'{key}.{name}={value!r}: has no meaning with guides={guides!r}, leave it out'
                )
        self.num_guides = 2 if num_guides is None else num_guides
        if type(self.num_guides) is not int or self.num_guides < 1:
            raise ValueError(f'{key}.num_guides={num_guides!r}: give a whole number, 1 or more')
        self.interval = 0.1 if interval is None else interval
        whole = type(self.interval) is int and self.interval >= 1
        if not whole and not (type(self.interval) is float and 0 < self.interval < 1):
            raise ValueError(
                f'{key}.interval={interval!r}: give a whole number of epochs, or a float in '
                '(0, 1) for a share of the run'
            )
        given = (1,) * (self.num_guides + 1) if lengths is None else lengths
        self.lengths = tuple(given) if isinstance(given, Sequence) else ()
        numbers = all(is_number(x) and x > 0 for x in self.lengths)
        if len(self.lengths) != self.num_guides + 1 or not numbers:
            raise ValueError(
                f'{key}.lengths={lengths!r}: give {self.num_guides + 1} numbers above 0, one for '
                f'each generation of num_guides={self.num_guides}'
            )

    def mean_guides(self) -> float:
        """How many guides there are in the mean over a run of generations."""
        return sum(j * share for j, share in enumerate(self.lengths)) / sum(self.lengths)

    def steps(self, length: int) -> list[int]:
        """After how many of ``length`` steps the student is frozen, in order.

        Raises:
            ValueError: The run is too short for it.
        """
        if self.mode == 'generations':
            shares = [sum(self.lengths[: j + 1]) for j in range(self.num_guides)]
            found = [round(length * share / sum(self.lengths)) for share in shares]
            if any(b <= a for a, b in zip([0, *found], [*found, length])):
                equal = len(set(self.lengths)) == 1
                told = '' if equal else f' of lengths {self.lengths}'
                raise ValueError(
                    f'{self.key}.num_guides={self.num_guides}: {length} epochs (or iterations) '
                    f'cannot be cut into {self.num_guides + 1} generations{told}; train longer or '
                    'give fewer guides'
                )
            return found
        if self.mode == 'snapshots':
            every = self.interval
            if isinstance(every, float):
                every = max(round(every * length), 1)
            if every >= length:
                raise ValueError(
                    f'{self.key}.interval={self.interval!r}: the run ends after {length} epochs '
                    '(or iterations), before its first snapshot would teach'
                )
            return list(range(every, length, every))
        return []

    def check_resumed(self, name: str) -> None:
        """Compare with the run that is resumed.

        Args:
            name: Of its plan.

        Raises:
            ValueError: It got its guides in another way.
        """
        if name != self.name:
            raise ValueError(
                f'{self.key}.guides: the run that is resumed had {name!r}, the config asks for '
                f'{self.name!r}; give the same, or begin a new run (resume=False)'
            )
