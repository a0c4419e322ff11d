"""Runs side by side, each in a process of its own; all of them stop when this one does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional, Union

import torch

from .plan import Run, is_finished
from .progress import Display, Standing

POLL = 1.0  # seconds
GRACE = 5.0  # seconds to end after being asked, before being killed
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def environment(jobs: int, slot: int = 0) -> dict[str, str]:
    """Environment of a process that shares the machine with so many others.

    Args:
        jobs: How many processes.
        slot: Which of them: several GPUs are dealt out in turn.
    """
    threads = max(cores() // jobs, 1)
    asked = os.environ.get('OMP_NUM_THREADS', '')
    if asked.isdecimal() and int(asked):
        threads = min(threads, int(asked))
    found = {**os.environ, 'OMP_NUM_THREADS': str(threads)}
    cards = gpus()
    if len(cards) > 1:
        found['CUDA_VISIBLE_DEVICES'] = cards[slot % len(cards)]
    return found


def gpus() -> list[str]:
    """Names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES takes them."""
    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',')]
    return named[:count] if len(named) >= count and named[0] else [str(i) for i in range(count)]


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

    def start(
        self, program: Union[str, Path], *args: str, jobs: int, log: Path, slot: int = 0
    ) -> subprocess.Popen:
        """Start a Python program where this process stands.

        Args:
            program: Name of a module, started with ``python -m``, or a file.
            args: Its arguments.
            jobs: How many processes share the machine.
            log: File to append its output to.
            slot: Which of these processes it is.
        """
        what = [str(program)] if isinstance(program, Path) else ['-m', program]
        with open(log, 'ab') as output:
            child = subprocess.Popen(
                [sys.executable, *what, *args],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=environment(jobs, slot), start_new_session=True,
            )  # fmt: skip
        self.running.append(child)
        return child


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a file."""
    return '\n'.join(log.read_text(errors='replace').splitlines()[-lines:])


def run_all(
    runs: list[Run],
    out: Path,
    prepare: Callable[[Run], Path],
    jobs: int,
    finished: Optional[Callable[[Run], None]] = None,
) -> list[Run]:
    """Do the runs that have no result yet, and return those that failed.

    Args:
        runs: All runs wanted.
        out: The harness's folder.
        prepare: Makes a run's folder ready.
        jobs: How many run side by side.
        finished: Called with each run as it finishes.
    """
    waiting = [run for run in runs if not is_finished(run.folder(out))]
    failed: list[Run] = []
    active: dict[Run, subprocess.Popen] = {}
    slots: dict[Run, int] = {}
    with Display() as display, Children() as children:
        while waiting or active:
            while waiting and len(active) < jobs:
                run = waiting.pop(0)
                folder = prepare(run)
                taken = {slots[other] for other in active}
                slots[run] = next(slot for slot in range(jobs) if slot not in taken)
                active[run] = children.start(
                    'mmpose_kd.gain.one_run', str(folder), jobs=jobs, log=folder / 'log.txt',
                    slot=slots[run],
                )  # fmt: skip
            time.sleep(POLL)
            for run in [run for run, child in active.items() if child.poll() is not None]:
                code = active.pop(run).returncode
                if code or not is_finished(run.folder(out)):
                    failed.append(run)
                    log = run.folder(out) / 'log.txt'
                    display.message(f'{run.name} failed, see {log}:\n{tail(log)}')
                else:
                    display.message(f'{run.name} finished')
                    if finished is not None:
                        finished(run)
            display.update(Standing.of(runs, list(active), failed, out, jobs))
    display.message(Standing.of(runs, [], failed, out, jobs).line())
    return failed
