"""How far the runs are: bars in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from ..core.checks import is_number, is_whole
from .files import FileError, read_json
from .plan import Run, is_finished

PAUSE = 60.0  # seconds between lines where there are no bars


@dataclass(frozen=True)
class Standing:
    """How far the runs are at one moment.

    Attributes:
        total: Number of runs wanted.
        done: How many of them have a result.
        failed: How many ended without one.
        active: Runs at work, with the number of epochs that each has finished.
        left: Seconds to the end, None if not known: see :func:`seconds_left`.
    """

    total: int
    done: int
    failed: int
    active: dict[Run, int]
    left: Optional[float]

    @classmethod
    def of(
        cls, runs: list[Run], active: list[Run], failed: list[Run], out: Path, jobs: int
    ) -> Standing:
        """Read from the runs' folders how far they are.

        Args:
            runs: All runs wanted.
            active: Those at work.
            failed: Those that ended without a result.
            out: The harness's folder.
            jobs: How many run side by side.
        """
        states = {run: read_progress(run.folder(out) / 'progress.json') for run in runs}
        done = [run for run in runs if is_finished(run.folder(out))]
        open_runs = [run for run in runs if run not in done and run not in failed]
        epochs = {run: len((states[run] or {'seconds': []})['seconds']) for run in active}
        left = seconds_left(open_runs, states, jobs) if open_runs else 0.0
        return cls(len(runs), len(done), len(failed), epochs, left)

    def summary(self) -> str:
        """``3 of 8 runs done, 1 failed, 25 min left``."""
        text = f'{self.done} of {self.total} runs done'
        if self.failed:
            text += f', {self.failed} failed'
        if self.done + self.failed < self.total:
            known = self.left is not None
            text += f', {duration(self.left)} left' if known else ', time left not known yet'
        return text

    def line(self) -> str:
        """All of it with the time of day, in one line."""
        active = [f'; {run.name}: epoch {n} of {run.epochs}' for run, n in self.active.items()]
        return f'{time.strftime("%H:%M:%S")} {self.summary()}{"".join(active)}'


def read_progress(file: Path) -> Optional[dict]:
    """``samples`` of an epoch and ``seconds`` of each, None if there is no such file yet.

    Raises:
        FileError: It holds something else.
    """
    state = read_json(file, keys=('samples', 'seconds'))
    if state is not None:
        seconds = state['seconds']
        good = isinstance(seconds, list) and all(is_number(s) for s in seconds)
        if not good or not is_whole(state['samples']) or state['samples'] < 1:
            raise FileError(file, 'its samples or seconds are none')
    return state


class Display:
    """Shows how far the runs are, until the block is left.

    Args:
        stream: Where; standard error by default. In a terminal there is a bar for all runs and
            one for each that is at work, elsewhere a line every ``PAUSE`` seconds.
    """

    def __init__(self, stream: Optional[TextIO] = None):
        stream = stream or sys.stderr
        self.console = Console(file=stream, highlight=False)
        self.in_terminal = stream.isatty() and self.console.is_interactive
        self.bars = Progress(
            BarColumn(20), TextColumn('{task.description}'), console=self.console,
            disable=not self.in_terminal, transient=True,
        )  # fmt: skip
        self.all_runs = self.bars.add_task('')
        self.tasks: dict[Run, TaskID] = {}
        self.last_line = float('-inf')

    def __enter__(self) -> Display:
        self.bars.start()
        return self

    def __exit__(self, *_) -> None:
        self.bars.stop()

    def update(self, standing: Standing) -> None:
        """Show how far the runs are now."""
        if not self.in_terminal:
            if time.monotonic() - self.last_line > PAUSE:
                self.message(standing.line())
                self.last_line = time.monotonic()
            return
        for run in [run for run in self.tasks if run not in standing.active]:
            self.bars.remove_task(self.tasks.pop(run))
        for run, epochs in standing.active.items():
            if run not in self.tasks:
                self.tasks[run] = self.bars.add_task('')
            text = f'{run.name}: epoch {epochs} of {run.epochs}'
            self._set(self.tasks[run], epochs, run.epochs, text)
        ended = standing.done + standing.failed
        self._set(self.all_runs, ended, standing.total, standing.summary())

    def _set(self, task: TaskID, completed: int, total: int, text: str) -> None:
        self.bars.update(task, completed=completed, total=total, description=text)

    def message(self, text: str) -> None:
        """Write something that stays to be read."""
        self.console.print(text, markup=False, emoji=False, soft_wrap=True)


def seconds_left(
    open_runs: list[Run], states: dict[Run, Optional[dict]], jobs: int
) -> Optional[float]:
    """Training time of what is not done yet, None as long as no epoch was measured.

    An epoch of a run is taken to last as long as the measured ones of its method, else of any
    method, for as many samples.

    Args:
        open_runs: Runs without a result.
        states: ``progress.json`` of every run, None where there is none.
        jobs: How many run side by side.
    """
    rates: dict[Optional[str], list[float]] = {}
    sizes: dict[Optional[int], int] = {}
    for run, state in states.items():
        if state:
            sizes[run.persons] = state['samples']
            for seconds in state['seconds']:
                for key in (run.method, None):
                    rates.setdefault(key, []).append(seconds / state['samples'])
    if not rates:
        return None
    left = []
    for run in open_runs:
        samples = run.persons or sizes.get(run.persons) or max(sizes.values())
        measured = rates.get(run.method) or rates[None]
        epochs = run.epochs - len((states[run] or {'seconds': []})['seconds'])
        left.append(epochs * samples * sum(measured) / len(measured))
    # the longest one cannot be split
    return max(sum(left) / jobs, max(left))


def duration(seconds: float) -> str:
    """``1 h 05 min``, ``12 min`` or ``40 s``."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes // 60} h {minutes % 60:02d} min' if minutes >= 60 else f'{minutes} min'
