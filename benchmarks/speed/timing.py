"""Times of several candidates, measured in turns so that a drifting machine cancels out."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from .launches import Launches

#: time on the wall, or the CPU time of all threads: for a CPU that others keep busy, with
#: OMP_WAIT_POLICY=passive, since a thread that spins while it waits counts as busy too
CLOCKS = {'wall': time.perf_counter, 'cpu': time.process_time}

#: in the place of a clock: how many operators compute
COUNTED = 'operators'


@dataclass(frozen=True)
class Times:
    """Seconds of every candidate in every round.

    Attributes:
        seconds: Per candidate one number a round, in the same order of rounds; thousands of
            operators if these were counted.
        unit: What :meth:`ms` gives.
    """

    seconds: Mapping[str, list[float]]
    unit: str = 'ms'

    def ms(self, name: str) -> float:
        """Median milliseconds."""
        return 1000 * statistics.median(self.seconds[name])

    def ratios(self, name: str, reference: str) -> list[float]:
        """The candidate's time over the reference's, round by round."""
        return [a / b for a, b in zip(self.seconds[name], self.seconds[reference])]

    def ratio(self, name: str, reference: str) -> float:
        """Median of :meth:`ratios`."""
        return statistics.median(self.ratios(name, reference))

    def spread(self, name: str, reference: str) -> str:
        """Lowest and highest of :meth:`ratios`."""
        found = self.ratios(name, reference)
        return f'{min(found):.2f} to {max(found):.2f}'


@dataclass(frozen=True)
class Bench:
    """Where and how often things are measured.

    Attributes:
        rounds: How many times each candidate is measured.
        device: Where candidates compute; ``'cuda'`` is waited for.
        clock: A name in ``CLOCKS``, or ``'operators'``, which are counted (on the CPU alone).
        batch: Images in a batch, in the table of all methods.
    """

    rounds: int = 7
    device: str = 'cpu'
    clock: str = 'wall'
    batch: int = 8

    def interleaved(
        self,
        candidates: Mapping[str, Callable[[], object]],
        repeats: int = 1,
        settle: bool = False,
    ) -> Times:
        """Time candidates in turns.

        Each runs once before it is measured. Every second round goes through them backwards,
        so that none is always first.

        Args:
            candidates: What to time, by name.
            repeats: How many calls are one measurement (for short ones); a time is of one call.
            settle: Call a candidate once more right before each measurement, as a training does:
                large blocks that the one before it has handed back are not at hand for it.
        """
        for run in candidates.values():
            run()
        if self.clock == COUNTED:
            return Times({n: self._operators(run) for n, run in candidates.items()}, COUNTED)
        now = CLOCKS[self.clock]
        seconds: dict[str, list[float]] = {name: [] for name in candidates}
        for index in range(self.rounds):
            names = list(candidates)
            for name in reversed(names) if index % 2 else names:
                gc.collect()
                if settle:
                    candidates[name]()
                self.wait()
                start = now()
                for _ in range(repeats):
                    candidates[name]()
                self.wait()
                seconds[name].append((now() - start) / repeats)
        return Times(seconds)

    def _operators(self, run: Callable[[], object]) -> list[float]:
        """Thousands of operators of one call: they are the same in each round."""
        with Launches() as launches:
            run()
        return [launches.count / 1000] * self.rounds

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device == 'cuda':
            torch.cuda.synchronize()
