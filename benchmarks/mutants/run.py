"""Run the tests against mutants: each in a process of its own, forked when MMPose is loaded.

    python benchmarks/mutants/run.py build/mutants/drawn.json --results build/mutants/results.csv

Mutates a copy of the checkout in a temporary folder. What stands in the results already is left
out, so an interrupted run goes on. First the tests are run once without a mutant, where they are
new or changed: they have to pass, and their times say which ones come last. Run alone:
two of these in one checkout would write over each other's times.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gc
import hashlib
import importlib.util
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, Optional

import pytest
import torch
from modules import MODULES, tests_of

ROOT = Path(__file__).resolve().parents[2]
SLOW = 3.0  # tests that take more seconds come after all that do not
PATIENCE = 60.0  # seconds that a test may take in any case,
TIMES = 10.0  # or so many times what it takes without a mutant
COLUMNS = ('group', 'module', 'line', 'operator', 'before', 'after', 'outcome', 'by', 'seconds')
EQUIVALENT = Path(__file__).with_name('equivalent.json')


class Result(NamedTuple):
    """What the tests said: ``killed``, ``survived`` or ``timeout``, and by which test."""

    outcome: str
    by: str = ''
    times: dict = {}


class Telling:
    """A pytest plugin in the child that tells the parent what happens, and sets the order."""

    def __init__(self, pipe: int, times: dict):
        self.pipe, self.known, self.times = pipe, times, {}

    def tell(self, **what):
        os.write(self.pipe, (json.dumps(what) + '\n').encode())

    def pytest_collectreport(self, report):
        if report.failed:
            self.tell(failed=f'import of {report.nodeid}')

    def pytest_collection_modifyitems(self, items):
        # files stay together: pytest would set up their fixtures again and again
        items.sort(key=lambda item: self.known.get(item.nodeid, 0.0) > SLOW)

    def pytest_runtest_logstart(self, nodeid):
        self.tell(start=nodeid)

    def pytest_runtest_logreport(self, report):
        self.times[report.nodeid] = self.times.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.tell(failed=report.nodeid)

    def pytest_sessionfinish(self, exitstatus):
        self.tell(exit=int(exitstatus), times=self.times)


def preload() -> None:
    """Import what the package is built on, and not the package."""
    for name in ('apis', 'codecs', 'datasets', 'models'):
        importlib.import_module(f'mmpose.{name}')
    torch.set_num_threads(1)
    if 'mmpose_kd' in sys.modules:
        raise RuntimeError('mmpose_kd was loaded before any mutant')
    gc.collect()
    gc.freeze()


def run_tests(
    copy: Path, tests: list[str], times: dict, log: Path, mutated: bool = True
) -> Result:
    """Run test files in a forked child, up to the first that fails.

    Args:
        copy: The checkout to test.
        tests: Files in it.
        times: What each test takes by itself.
        log: Where pytest's output goes.
        mutated: With a mutant no compiled files are written, and no test may take for ever.
    """
    reading, writing = os.pipe()
    scratch = copy.parent / 'scratch'
    child = os.fork()
    if child == 0:
        os.setsid()
        with open(log, 'w') as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        sys.dont_write_bytecode = mutated
        options = ['-x', '-p', 'no:cacheprovider', f'--basetemp={scratch}', *tests]
        code = 70
        try:
            code = pytest.main(options, plugins=[Telling(writing, times)])
        finally:
            os._exit(int(code))
    os.close(writing)
    try:
        return watch(reading, times, PATIENCE if mutated else 10 * PATIENCE)
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        shutil.rmtree(scratch, ignore_errors=True)


def watch(reading: int, times: dict, patience: float) -> Result:
    """Follow what a child tells, until it ends or a test takes too long."""
    rest, test, failed = b'', 'import', None
    since = time.monotonic()
    while True:
        limit = max(patience, TIMES * times.get(test, 0.0))
        ready, _, _ = select.select([reading], [], [], max(0.0, since + limit - time.monotonic()))
        if not ready:
            return Result('killed', failed) if failed else Result('timeout', test)
        data = os.read(reading, 1 << 16)
        if not data:  # it is gone and has not said goodbye
            return Result('killed', failed or f'the end of the process in {test}')
        *lines, rest = (rest + data).split(b'\n')
        for line in lines:
            said = json.loads(line)
            test, since = said.get('start', test), time.monotonic()
            failed = failed or said.get('failed')
            if 'exit' in said:
                if said['exit'] == 0:
                    return Result('survived', times=said['times'])
                return Result('killed', failed or f'exit status {said["exit"]}')


def own_times(copy: Path, tests: list[str], file: Path, log: Path) -> dict[str, float]:
    """What each test takes without a mutant; run are those of files that are new or changed."""
    known = json.loads(file.read_text()) if file.is_file() else {}
    for test in tests:
        digest = hashlib.sha256((copy / test).read_bytes()).hexdigest()
        if known.get(test, {}).get('digest') != digest:
            result = run_tests(copy, [test], {}, log, mutated=False)
            if result.outcome != 'survived':
                raise SystemExit(f'{result.by} does not pass without a mutant, see {log}')
            known[test] = {'digest': digest, 'times': result.times}
            file.write_text(json.dumps(known, indent=1) + '\n')
            print(f'{sum(result.times.values()):7.1f} s  {test}', flush=True)
    return {name: t for entry in known.values() for name, t in entry['times'].items()}


def changed(source: str, mutant: dict) -> Optional[str]:
    """The source with the mutant; None if its lines are not there any more.

    They are looked for, the nearest first: the file may have changed above them.
    """
    lines, before = source.splitlines(), mutant['before']
    places = [i for i in range(len(lines)) if lines[i : i + len(before)] == before]
    if not places or not before:
        return None
    at = min(places, key=lambda i: abs(i + 1 - mutant['line']))
    return '\n'.join([*lines[:at], *mutant['after'], *lines[at + len(before) :], ''])


def key_of(row: dict) -> tuple:
    """By what a mutant is known in the results."""
    return (*kind_of(row), str(row['line']))


def kind_of(row: dict) -> tuple:
    """By what it is known in the list of equivalent ones: lines move."""
    return row['module'], row['operator'], row['after']


def as_row(mutant: dict) -> dict:
    """The mutant as the results have it: its changed lines without the indent, as one."""
    words = {k: ' '.join(x.strip() for x in mutant[k]).strip() for k in ('before', 'after')}
    group = MODULES[mutant['module']][0] if mutant['module'] in MODULES else 'others'
    return {**mutant, 'group': group, **words}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('mutants', type=Path, help='of draw.py, or by_hand.json')
    parser.add_argument('--results', type=Path, required=True)
    parser.add_argument('--times', type=Path, default=ROOT / 'build' / 'mutants' / 'times.json')
    parser.add_argument(
        '--again', action='store_true', help='run those that survived, with the tests of now'
    )
    args = parser.parse_args()

    args.results, args.times = args.results.resolve(), args.times.resolve()
    mutants = json.loads(args.mutants.read_text())['mutants']
    equivalent = {kind_of(row) for row in json.loads(EQUIVALENT.read_text())}
    rows = {}
    if args.results.is_file():
        with open(args.results, newline='') as file:
            rows = {key_of(row): row for row in csv.DictReader(file)}
    again = ('survived',) if args.again else ()
    done = {key for key, row in rows.items() if row['outcome'] not in again}
    left = [mutant for mutant in mutants if key_of(as_row(mutant)) not in done]
    print(f'{len(left)} of {len(mutants)} mutants are to be run', flush=True)
    for folder in (args.results.parent, args.times.parent):
        folder.mkdir(parents=True, exist_ok=True)
    log = args.times.with_name('last.log')

    with tempfile.TemporaryDirectory(prefix='mutants-') as folder:
        copy = Path(folder, 'checkout')
        copy_checkout(copy)
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        os.environ.update(PYTHONPATH=str(copy), PYTHONDONTWRITEBYTECODE='1', OMP_NUM_THREADS='1')
        preload()
        for number, mutant in enumerate(left, 1):
            row = as_row(mutant)
            times = own_times(copy, there(copy, mutant), args.times, log)
            start = time.monotonic()
            result = with_mutant(copy, mutant, times, log)
            outcome = result.outcome
            if outcome == 'survived' and kind_of(row) in equivalent:
                outcome = 'equivalent'
            row.update(outcome=outcome, by=result.by, seconds=f'{time.monotonic() - start:.1f}')
            rows[key_of(row)] = row
            write_rows(args.results, rows)
            print(
                f'{number:4} {row["seconds"]:>6} s  {outcome:10} {row["module"]}:{row["line"]}  '
                f'{row["after"]}  {result.by}',
                flush=True,
            )
    counts = {}
    for row in rows.values():
        counts[row['outcome']] = counts.get(row['outcome'], 0) + 1
    print(', '.join(f'{count} {outcome}' for outcome, count in sorted(counts.items())))


def there(copy: Path, mutant: dict) -> list[str]:
    """The test files for a mutant that exist."""
    tests = mutant.get('tests') or tests_of(mutant['module'])
    return [test for test in tests if (copy / test).is_file()]


def with_mutant(copy: Path, mutant: dict, times: dict, log: Path) -> Result:
    """Put the mutant in, run its tests, take it out."""
    path = copy / 'mmpose_kd' / f'{mutant["module"]}.py'
    source = path.read_text(encoding='utf-8')
    text = changed(source, mutant)
    if text is None:
        return Result('gone')
    compiled = Path(importlib.util.cache_from_source(str(path)))
    compiled.unlink(missing_ok=True)
    path.write_text(text, encoding='utf-8')
    try:
        return run_tests(copy, there(copy, mutant), times, log)
    finally:
        path.write_text(source, encoding='utf-8')


def copy_checkout(copy: Path) -> None:
    """The files of the checkout, as they are now."""
    command = ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, names.decode().split('\0')):
        source, target = ROOT / name, copy / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def write_rows(path: Path, rows: dict) -> None:
    """The results so far, whole."""
    unfinished = path.with_name(f'.{path.name}')
    with open(unfinished, 'w', newline='') as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction='ignore', lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows.values())
    os.replace(unfinished, path)


if __name__ == '__main__':
    main()
