"""Finished runs, scored."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
from mmengine.config import Config

from ..core.checks import is_number, is_whole
from .configs import SettingError
from .files import FileError, read_arrays, read_json, write_json
from .interval import Gain, paired_gain
from .pck import box_lengths, hits_and_counts, torso_joints, torso_lengths
from .plan import Run
from .stock import COSTS
from .workers import Children

THRESHOLDS = (0.2, 0.1)
COST = 'cost.json'
#: shapes of the arrays in persons.npz
PERSONS = dict(
    ids=('N',), names=('K',), keypoints=('N', 'K', 2), target=('N', 'K', 2), visible=('N', 'K'),
    boxes=('N', 4),
)  # fmt: skip


@dataclass
class Result:
    """A finished run.

    Attributes:
        run: Which one.
        about: Its ``result.json``.
        yardstick: ``'torso'`` or ``'bbox'``.
        ids: Numbers (N,) of the tested persons.
        hits: By threshold, found joints (N,) of each person.
        counts: Labelled joints (N,) of each person.
    """

    run: Run
    about: dict
    yardstick: str
    ids: np.ndarray
    hits: dict[float, np.ndarray]
    counts: np.ndarray

    def pck(self, thr: float) -> float:
        """PCK in percent."""
        return 100.0 * self.hits[thr].sum() / max(self.counts.sum(), 1)

    @property
    def oks_ap(self) -> Optional[float]:
        """AP from 0 to 1, None without a CocoMetric in the config."""
        return self.about['metrics']['oks_ap']


def read_result(out: Path, run: Run, yardstick: Optional[str]) -> Optional[Result]:
    """Read and score a run, None if it has not finished.

    Args:
        out: The harness's folder.
        run: Which run.
        yardstick: ``'torso'``, ``'bbox'``, or None for the torso where there is one.

    Raises:
        FileError: Its files are damaged.
        SettingError: The torso is asked for and the data set has none.
    """
    folder = run.folder(out)
    about = read_json(folder / 'result.json')
    if about is None:
        return None
    if not _is_result(about):
        raise FileError(folder / 'result.json', 'it lacks numbers of a finished run')
    persons = read_persons(folder / 'persons.npz')
    joints = torso_joints(persons['names'].tolist())
    if joints is None and yardstick == 'torso':
        raise SettingError(
            f'--yardstick torso: the keypoints of {run.method} are {persons["names"].tolist()}, '
            'without left_shoulder and right_hip; give --yardstick bbox'
        )
    target, visible = persons['target'], persons['visible']
    length = None if joints is None else torso_lengths(target, visible, joints)
    measurable = length is not None and bool((length > 0).any())
    if yardstick == 'torso' and not measurable:
        raise SettingError(
            '--yardstick torso: no person has both left_shoulder and right_hip labelled; give '
            '--yardstick bbox'
        )
    if yardstick == 'bbox' or not measurable:
        yardstick, length = 'bbox', box_lengths(persons['boxes'])
    else:
        yardstick = 'torso'
    scored = {
        thr: hits_and_counts(persons['keypoints'], target, visible, length, thr)
        for thr in THRESHOLDS
    }
    hits = {thr: hits for thr, (hits, _) in scored.items()}
    return Result(run, about, yardstick, persons['ids'], hits, scored[THRESHOLDS[0]][1])


def _is_result(about: dict) -> bool:
    metrics, curve = about.get('metrics'), about.get('curve')
    return (
        is_number(about.get('seconds'))
        and is_whole(about.get('samples'))
        and isinstance(metrics, dict)
        and 'oks_ap' in metrics
        and isinstance(metrics['oks_ap'], (int, float, type(None)))
        and isinstance(curve, dict)
        and all(epoch.isdecimal() and isinstance(m, dict) for epoch, m in curve.items())
    )


def read_persons(file: Path) -> dict[str, np.ndarray]:
    """What ``evaluate_student.py`` wrote of N persons with K keypoints.

    Raises:
        FileError: The file is missing or damaged, or its arrays do not go together.
    """
    persons = read_arrays(file, PERSONS)
    n, k = len(persons['ids']), len(persons['names'])
    for name, shape in PERSONS.items():
        wanted = tuple({'N': n, 'K': k}.get(axis, axis) for axis in shape)
        found = persons[name]
        kinds = {'names': 'U', 'ids': 'biufU'}.get(name, 'biuf')  # some data has texts as ids
        if found.shape != wanted or found.dtype.kind not in kinds:
            raise FileError(file, f'{name} is {found.dtype} of shape {found.shape}')
    return persons


def gain(plain: list[Result], distilled: list[Result], thr: float) -> Optional[Gain]:
    """Gain of one method over another, over the seeds that both have; None without any."""
    pairs = [(a, b) for a in plain for b in distilled if a.run.seed == b.run.seed]
    if not pairs:
        return None
    ids = pairs[0][0].ids
    for result in (r for pair in pairs for r in pair):
        if not np.array_equal(result.ids, ids) or result.yardstick != pairs[0][0].yardstick:
            raise SettingError(
                f'{result.run.name} and {pairs[0][0].run.name} were tested on different persons: '
                'give configs with the same test_dataloader'
            )
    one, two = zip(*pairs)
    tables = [
        (np.stack([r.hits[thr] for r in side]), np.stack([r.counts for r in side]))
        for side in (one, two)
    ]
    return paired_gain(*tables)


# --------------------------------------------------------------------------------- cost


def costs(out: Path, results: list[Result]) -> dict[str, dict]:
    """Parameters, multiply-adds and forward times by method; measured when not yet known."""
    students: dict[str, Path] = {}
    for result in results:
        students.setdefault(result.run.method, result.run.folder(out) / 'student')
    if not students:
        return {}
    key = {name: _model_hash(folder / 'student.py') for name, folder in students.items()}
    known = read_json(out / COST, {'costs': {}}, keys=['costs'])
    if not isinstance(known['costs'], dict) or not all(map(_is_cost, known['costs'].values())):
        raise FileError(out / COST, 'a cost is none')
    if known.get('models') != key:
        fresh = out / '.cost.json'
        fresh.unlink(missing_ok=True)
        with Children() as children:
            folders, log = map(str, students.values()), out / 'cost_log.txt'
            failed = children.start(COSTS, str(fresh), *folders, jobs=1, log=log).wait()
        if failed or not fresh.is_file():
            sys.stderr.write(f'the cost of the students could not be measured, see {log}\n')
            return {}
        known = {'models': key, 'costs': dict(zip(students, read_json(fresh, kind=list)))}
        write_json(out / COST, known)
        fresh.unlink()
    return known['costs']


def _is_cost(cost) -> bool:
    return isinstance(cost, dict) and {'parameters', 'macs', 'seconds'} <= cost.keys()


def _model_hash(student: Path) -> str:
    model = Config.fromfile(student, import_custom_modules=False).model.to_dict()
    return hashlib.sha256(json.dumps(model, default=repr, sort_keys=True).encode()).hexdigest()


def latency_ratio(costs: dict[str, dict], method: str, plain: str) -> Optional[float]:
    """Time of a forward pass in those of the plain model: the median over rounds."""
    if method not in costs or plain not in costs:
        return None
    ratios = np.divide(costs[method]['seconds'], costs[plain]['seconds'])
    return float(np.median(ratios))
