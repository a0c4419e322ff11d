"""When a student becomes its own later guide, and which of the guides teach in a step."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Optional, Union

import torch
from mmengine.dist import broadcast
from mmengine.logging import print_log

from ..core.checks import checked_numbers, checked_whole, is_number, is_whole, refusal
from ..core.schedule import WARN_BELOW, Schedule

MODES = ('generations', 'snapshots')

MOST_GUIDES = 100  # each is a model in memory

LATE = 0.9  # of a run; a first guide after that is told


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
                give = f'it has no meaning with guides={guides!r}, leave it out'
                raise refusal(f'{key}.{name}', value, give)
        self.num_guides = 2 if num_guides is None else num_guides
        checked_whole(self.num_guides, f'{key}.num_guides', least=1, most=MOST_GUIDES)
        self.interval = 0.1 if interval is None else interval
        share = is_number(self.interval) and 0 < self.interval < 1
        if not share and not (is_whole(self.interval) and self.interval >= 1):
            give = 'give a whole number of epochs, or a float in (0, 1) for a share of the run'
            raise refusal(f'{key}.interval', interval, give)
        count = self.num_guides + 1  # generations
        lengths = (1,) * count if lengths is None else lengths
        self.lengths = checked_numbers(lengths, f'{key}.lengths', count, above=0)

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
                of = '' if len(set(self.lengths)) == 1 else f' of lengths {self.lengths}'
                raise refusal(
                    f'{self.key}.num_guides',
                    self.num_guides,
                    f'{length} epochs (or iterations) cannot be cut into {self.num_guides + 1} '
                    f'generations{of}; train longer or give fewer guides',
                )
            return found
        if self.mode == 'snapshots':
            every = self.interval
            if isinstance(every, float):
                every = max(round(every * length), 1)
            if every >= length:
                raise refusal(
                    f'{self.key}.interval',
                    self.interval,
                    f'the run ends after {length} epochs (or iterations), before its first '
                    'snapshot would teach; train longer or give less',
                )
            return list(range(every, length, every))
        return []

    def warn_of_many(self, length: int) -> None:
        """Warn where an interval that was meant in epochs counts the iterations of a long run."""
        if self.mode == 'snapshots' and is_whole(self.interval) and 100 * self.interval < length:
            _warn(
                f'{self.key}.interval={self.interval}: this run counts iterations, {length} of '
                f'them, and there would be {length // self.interval} snapshots; give a share of '
                'the run, a float in (0, 1), or more iterations'
            )

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


def warn_of_late(
    due: Sequence[int],
    done: int,
    length: int,
    unit: str,
    schedules: Sequence[Schedule],
    key: str,
) -> None:
    """Warn where a run without guides gets its first one too late to learn of it.

    Args:
        due: From :meth:`GuidePlan.steps`.
        done: Steps that the run has done.
        length: Steps of the run.
        unit: ``'epoch'``, or ``'iter'`` in a run that counts iterations.
        schedules: Of the losses that read guides.
        key: Name of the config key, for messages.
    """
    steps = {'epoch': 'epochs', 'iter': 'iterations'}[unit]
    first = next((step for step in due if step > done), None)
    if first is None:
        _warn(
            f'{key}: this run goes on after {done} of {length} {steps}, has no guide, and none '
            f'will come (they were due after {", ".join(map(str, due))}): train longer'
        )
        return
    if first >= LATE * length:
        _warn(
            f'{key}: the first guide comes after {first} of {length} {steps} and hardly teaches: '
            'give more guides, a shorter interval or other lengths, or train longer'
        )
    epochs = length if unit == 'epoch' else 1
    for schedule in schedules:
        if schedule.largest_factor(epochs) < WARN_BELOW:
            continue  # that it has said itself
        reached = max(schedule.factor(i * epochs / length, epochs) for i in range(first, length))
        if reached < WARN_BELOW:
            _warn(
                f'{schedule.key}: the first guide comes after {first} of {length} {steps}, from '
                f'then on the factor reaches {reached:.2g} and no more; let it act later, or give '
                f'{key} earlier guides'
            )


def _warn(text: str) -> None:
    print_log(text, 'current', logging.WARNING)


class GuideDraws:
    """Draws that are the same in every process, and go on where a run is resumed.

    Args:
        seed: Of the run; every process takes that of the first.
    """

    def __init__(self, seed: int):
        shared = torch.tensor(seed)
        broadcast(shared)
        self._seed = int(shared)
        self._generator = torch.Generator().manual_seed(self._seed)

    def kept(self, guides: Sequence, keep_prob: float) -> list:
        """Those of the guides that teach in this step, see :func:`keep_guides`."""
        kept = keep_guides(len(guides), keep_prob, self._generator)
        return [guide for guide, keep in zip(guides, kept) if keep]

    def seed_of(self, generation: int) -> str:
        """A seed for weights that are drawn anew; it does not depend on the draws before."""
        return f'{self._seed} {generation}'

    def state(self) -> dict:
        """What a checkpoint has to hold."""
        return dict(draws=self._generator.get_state(), redraw_seed=self._seed)

    def resume(self, state: dict) -> None:
        """Go on from the state of a checkpoint."""
        try:
            self._generator.set_state(state['draws'].cpu())
        except (RuntimeError, TypeError) as error:
            raise ValueError(
                f'the checkpoint that is resumed has no state of random draws: {error}'
            ) from error
        self._seed = state['redraw_seed']


def keep_guides(count: int, keep_prob: float, generator: torch.Generator) -> list[bool]:
    """Which of the guides take part in this step: each with ``keep_prob``, at least one.

    Dropping some of them is the regularisation of Son et al., "Densely Guided Knowledge
    Distillation Using Multiple Teacher Assistants", ICCV 2021 (https://arxiv.org/abs/2009.08825).

    Args:
        count: n, at least 1.
        keep_prob: In (0, 1].
        generator: On the CPU; as many numbers are drawn whatever comes out.
    """
    draws = torch.rand(count, generator=generator)
    lucky = int(torch.randint(count, (1,), generator=generator))
    kept = [draw < keep_prob for draw in draws.tolist()]
    return kept if any(kept) else [i == lucky for i in range(count)]
