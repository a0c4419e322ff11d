"""The same model trained plain, plain for as long as distillation takes, and distilled."""

from __future__ import annotations

import filecmp
import math
import shutil
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from mmengine.config import Config

from ..core.recipe import RECIPES, Recipe
from ..core.sole_call import sole_call
from ..core.whole_files import write_whole
from ..gain.command import Settings as GainSettings
from ..gain.command import check_stock_mmpose, read_configs
from ..gain.configs import SettingError
from ..gain.plan import Folders, Run
from ..gain.progress import read_progress
from ..gain.workers import cores, run_all
from .data import METAINFO, Data, prepare
from .drawn_people import draw_dataset
from .report import Model, write_report
from .students import TEACHER, demo_config, fitting_student

DRAWN = {'train': 1000, 'val': 300}


@dataclass(frozen=True)
class Settings:
    """What the command line asks for.

    Attributes:
        out: Folder to write.
        method: Name of a recipe.
        data: Folder of a data set, None for drawn people.
        epochs: Length of the plain and the distilled training.
        persons: How many persons of each split are used at most, None: as many as are drawn.
        seed: Of the trainings.
    """

    out: Path
    method: str = 'ocd'
    data: Optional[Path] = None
    epochs: int = 10
    persons: Optional[int] = None
    seed: int = 0


def run(settings: Settings) -> None:
    """Train what has not been trained, and show all.

    Raises:
        ValueError: Something given does not work, or a training failed.
    """
    check_stock_mmpose()
    out, start = settings.out.absolute(), time.time()
    recipe = RECIPES[settings.method]
    with sole_call(out):
        check_student(out)
        data = read_data(settings)
        tell_pairs(data)
        plain, cfg = fitting_student(recipe, data)
        cost, teacher = None, None
        if recipe.needs_teacher:
            cost = trained_teacher(settings, data)
            student = cost.folder(out) / 'student'
            teacher = dict(
                config=str(student / 'student.py'), checkpoint=str(student / 'student.pth')
            )
        folders = distilled_folders(out, plain, cfg, recipe, teacher)
        one, other = (Run(name, None, settings.epochs, settings.seed) for name in folders.configs)
        work(out, folders, [one, other])
        longer = Run(plain, None, longer_epochs(out, one, other), settings.seed)
        work(out, folders, [longer])
        models = [
            Model('plain', one),
            Model(f'plain, as long as {recipe.name.upper()}', longer),
            Model(f'distilled with {recipe.name.upper()}', other),
        ]
        copy_student(other.folder(out) / 'student', out / 'student')
        write_report(out, models, cost and Model('teacher', cost), data)
    sys.stdout.write(f'finished in {time.time() - start:.0f} s\n')


def check_student(out: Path) -> None:
    """See that a student which is there already is that of an earlier call.

    Raises:
        SettingError: It is another one, which would be lost.
    """
    there = out / 'student' / 'student.pth'
    own = (run / 'student' / 'student.pth' for run in out.glob('runs/*'))
    if there.exists() and not any(_same_bytes(there, one) for one in own):
        raise SettingError(
            f'--out {out}: {there} is not of an earlier call and would be lost: give another '
            'folder'
        )


def copy_student(made: Path, to: Path) -> None:
    """Leave a run's student beside the report; an ONNX file of another one goes."""
    if not _same_bytes(to / 'student.pth', made / 'student.pth'):
        (to / 'student.onnx').unlink(missing_ok=True)
    for file in ('student.py', 'student.pth'):
        write_whole(to / file, lambda path, file=file: shutil.copy(made / file, path))


def _same_bytes(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def tell_pairs(data: Data) -> None:
    """Say which keypoints change places in a mirror, of data that is not drawn."""
    if data.metainfo is None:
        return
    meta = data.meta()
    names, flip = meta['keypoint_id2name'], meta['flip_indices']
    pairs = [f'{names[k]} and {names[f]}' for k, f in enumerate(flip) if k < f]
    told = (
        f'pictures are not mirrored: keypoints are numbered, and no {METAINFO} has swap for them'
    )
    if data.flips:
        none = f'none; if there are sides, tell them by swap in a {METAINFO} beside the data'
        told = f'keypoints that change places in a mirror: {", ".join(pairs) or none}'
    sys.stdout.write(f'{told}\n')


def read_data(settings: Settings) -> Data:
    """The user's data, or people drawn now."""
    out, source = settings.out.absolute(), settings.data
    persons = {split: settings.persons or number for split, number in DRAWN.items()}
    if source is None:
        source = out / 'data' / 'drawn'
        draw_dataset(source, persons['train'], persons['val'], seed=0)
    return prepare(source, out / 'data', persons)


def trained_teacher(settings: Settings, data: Data) -> Run:
    """The run of a bigger heatmap model."""
    out = settings.out.absolute()
    teacher = Run(TEACHER, None, settings.epochs, settings.seed)
    work(out, Folders(out, {TEACHER: demo_config(TEACHER, data)}, TEACHER), [teacher])
    return teacher


def distilled_folders(
    out: Path, plain: str, cfg: Config, recipe: Recipe, teacher: Optional[dict]
) -> Folders:
    """Folders of runs for a plain config and what a method makes of it, in this order."""
    given = cfg.to_dict()
    made = recipe.distilled(given) if teacher is None else recipe.distilled(given, teacher)
    files = []
    for name, config in ((plain, cfg), (f'{recipe.name}_{plain}', Config(made))):
        files.append(str(out / 'configs' / f'{name}.py'))
        write_whole(files[-1], config.dump)
    return Folders(out, read_configs(GainSettings(tuple(files), out)), plain)


def longer_epochs(out: Path, plain: Run, distilled: Run) -> int:
    """Epochs of the plain model in the time of the distilled one, by the median epoch of each."""
    seconds = [
        statistics.median(read_progress(one.folder(out) / 'progress.json')['seconds'])
        for one in (plain, distilled)
    ]
    # one more at least, or it would be the same run
    return max(math.ceil(plain.epochs * seconds[1] / seconds[0]), plain.epochs + 1)


def work(out: Path, folders: Folders, runs: list[Run]) -> None:
    """Do the runs that have no result, each with one thread, side by side.

    Raises:
        SettingError: One failed, or its folder holds another one.
    """
    for one in runs:
        folders.check(one)
    failed = run_all(runs, out, folders.prepare, jobs=cores())
    if failed:
        raise SettingError(f'{failed[0].name} failed, see {failed[0].folder(out) / "log.txt"}')
