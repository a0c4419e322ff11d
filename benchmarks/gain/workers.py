"""Runs side by side, each in a process of its own, with a line that tells how far they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional, TextIO

from .files import read_json
from .plan import Run, is_finished

ROOT = Path(__file__).resolve().parents[2]
POLL = 1.0  # seconds
GRACE = 5.0  # seconds to end after being asked, before being killed
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TELL = 60.0  # seconds between lines where the line cannot be overwritten


def environment(jobs: int) -> dict[str, str]:
    """Environment of a process that shares the machine with so many others."""
    threads = max(cores() // jobs, 1)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])])
    return {**os.environ, 'OMP_NUM_THREADS': str(threads), 'PYTHONPATH': path}


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


class Children:
    """Processes that are stopped, with all that they started, when the block is left."""

    def __init__(self):
        self.running: list[subprocess.Popen] = []

    def __enter__(self) -> Children:
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        # what is ignored stays so: nohup does it with SIGHUP
        self.before = {n: h for n, h in handlers.items() if h not in (signal.SIG_IGN, None)}
        for number in self.before:
            signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *_) -> None:
        try:
            self._ignore()
        finally:  # a signal that comes just now must not leave processes behind
            self._stop()
            for number, handler in self.before.items():
                signal.signal(number, handler)

    def _stop(self) -> None:
        for stop in (signal.SIGTERM, signal.SIGKILL):
            for child in self.running:
                if child.poll() is None:
                    os.killpg(child.pid, stop)
            deadline = time.monotonic() + GRACE
            while time.monotonic() < deadline and any(c.poll() is None for c in self.running):
                time.sleep(0.05)

    def _ignore(self) -> None:
        for number in self.before:
            signal.signal(number, signal.SIG_IGN)

    def _interrupt(self, *_) -> None:
        self._ignore()  # one is enough: a second must not disturb the stopping
        raise KeyboardInterrupt

    def start(self, module: str, *args: str, jobs: int, log: Path) -> subprocess.Popen:
        """Start ``python -m module args`` with its output appended to a file."""
        with open(log, 'ab') as output:
            child = subprocess.Popen(
                [sys.executable, '-m', module, *args],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=environment(jobs), start_new_session=True,
            )  # fmt: skip
        self.running.append(child)
        return child


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a file."""
    return '\n'.join(log.read_text(errors='replace').splitlines()[-lines:])


def run_all(
    runs: list[Run], out: Path, prepare: Callable[[Run], Path], jobs: int, stream: TextIO
) -> list[Run]:
    """Do the runs that have no result yet, and return those that failed.

    Args:
        runs: All runs wanted.
        out: The harness's folder.
        prepare: Makes a run's folder ready.
        jobs: How many run side by side.
        stream: Where to tell the progress.
    """
    waiting = [run for run in runs if not is_finished(run.folder(out))]
    failed: list[Run] = []
    active: dict[Run, subprocess.Popen] = {}
    line = Line(stream)
    with Children() as children:
        while waiting or active:
            while waiting and len(active) < jobs:
                run = waiting.pop(0)
                folder = prepare(run)
                active[run] = children.start(
                    'benchmarks.gain.one_run', str(folder), jobs=jobs, log=folder / 'log.txt'
                )
            time.sleep(POLL)
            for run in [run for run, child in active.items() if child.poll() is not None]:
                code = active.pop(run).returncode
                if code or not is_finished(run.folder(out)):
                    failed.append(run)
                    log = run.folder(out) / 'log.txt'
                    line.event(f'{run.name} failed, see {log}:\n{tail(log)}')
                else:
                    line.event(f'{run.name} finished')
            line.status(progress(runs, list(active), failed, out, jobs))
    line.event(progress(runs, [], failed, out, jobs))
    return failed


class Line:
    """A line that is overwritten in a terminal, and written now and then elsewhere."""

    def __init__(self, stream: TextIO):
        self.stream, self.told, self.shown = stream, 0.0, 0

    def status(self, text: str) -> None:
        """How far the work is."""
        if self.stream.isatty():
            text = text[: os.get_terminal_size(self.stream.fileno()).columns - 1]
            self.stream.write('\r' + text.ljust(self.shown))
            self.shown = len(text)
        elif time.monotonic() - self.told > TELL:
            self.stream.write(text + '\n')
            self.told = time.monotonic()
        self.stream.flush()

    def event(self, text: str) -> None:
        """Something that stays to be read."""
        if self.stream.isatty():
            self.stream.write('\r' + ' ' * self.shown + '\r')
            self.shown = 0
        self.stream.write(text + '\n')
        self.stream.flush()


# ------------------------------------------------------------------------- how far it is


def progress(runs: list[Run], active: list[Run], failed: list[Run], out: Path, jobs: int) -> str:
    """Runs done, what is at work, and the time left."""
    states = {run: read_json(run.folder(out) / 'progress.json') for run in runs}
    done = [run for run in runs if is_finished(run.folder(out))]
    text = f'{time.strftime("%H:%M:%S")} {len(done)} of {len(runs)} runs done'
    if failed:
        text += f', {len(failed)} failed'
    open_runs = [run for run in runs if run not in done and run not in failed]
    if open_runs:
        left = seconds_left(open_runs, states, jobs)
        text += f', {"time left not known yet" if left is None else duration(left) + " left"}'
    for run in active:
        state = states[run] or {'seconds': []}
        text += f'; {run.name}: epoch {len(state["seconds"])} of {run.epochs}'
    return text


def seconds_left(
    open_runs: list[Run], states: dict[Run, Optional[dict]], jobs: int
) -> Optional[float]:
    """Training time of what is not done yet, None as long as no epoch was measured.

    An epoch of a run is taken to last as long as the measured ones of its method, else of any
    method, for as many samples.
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
