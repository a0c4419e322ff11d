"""Which runs are wanted, and the folder of each."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Optional

from mmengine.config import Config

from ..core.checks import is_whole
from ..core.recipe import type_name
from ..core.weight_sources import weight_sources
from .configs import SettingError, annotation_file, differences, short
from .files import FileError, read_json, write_json, write_whole
from .stretch import stretch
from .subset import subset

PLAN = 'plan.json'
#: of a config, what has no influence on the result (load_from has: see Folders)
NO_INFLUENCE = (
    'work_dir', 'load_from', 'resume', 'launcher', 'log_level', 'visualizer', 'vis_backends',
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        method: Name of the config's file without its ending.
        persons: Size of the training set, None for all of it.
        epochs: Length of the training.
        seed: Seed of the training.
    """

    method: str
    persons: Optional[int]
    epochs: int
    seed: int

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return f'{self.method}_{self.persons or "all"}p_{self.epochs}e_seed{self.seed}'

    def folder(self, out: Path) -> Path:
        """The run's folder."""
        return out / 'runs' / self.name


@dataclass(frozen=True)
class Comparison:
    """One distilled model against the plain one.

    Attributes:
        plain: Name of the plain method.
        distilled: Name of the distilled method.
        persons: Size of the training set, None for all of it.
        epochs: Length of the training of both.
        seeds: Seeds of the trainings of both.
        plain_epochs: Epochs of the plain model in the same wall time, None if not asked for.
    """

    plain: str
    distilled: str
    persons: Optional[int]
    epochs: int
    seeds: tuple[int, ...]
    plain_epochs: Optional[int] = None

    def is_sound(self) -> bool:
        """Whether all of it is of the right kind, after it was read from a file."""
        names = all(isinstance(name, str) for name in (self.plain, self.distilled))
        sizes = [n for n in (self.persons, self.plain_epochs) if n is not None]
        counts = all(is_whole(n) and n > 0 for n in [self.epochs, *sizes])
        return names and counts and all(is_whole(seed) for seed in self.seeds)

    def runs(self) -> list[Run]:
        """The trainings that it takes, those of one seed together."""
        lengths = [(self.plain, self.epochs), (self.distilled, self.epochs)]
        if self.plain_epochs:
            lengths.append((self.plain, self.plain_epochs))
        return [Run(m, self.persons, e, seed) for seed in self.seeds for m, e in lengths]


def all_runs(comparisons: list[Comparison]) -> list[Run]:
    """Every run once: first all of the first seed, so that a first look comes early."""
    runs = list(dict.fromkeys(run for c in comparisons for run in c.runs()))
    return sorted(runs, key=lambda run: run.seed)


def read_plan(out: Path) -> tuple[list[Comparison], list[str]]:
    """The comparisons asked for so far, and the commands that did.

    Raises:
        FileError: The plan's file is damaged.
    """
    nothing = {'comparisons': [], 'commands': []}
    plan = read_json(out / PLAN, nothing, keys=nothing)
    try:
        found = [Comparison(**{**c, 'seeds': tuple(c['seeds'])}) for c in plan['comparisons']]
        good = all(c.is_sound() for c in found) and all(
            isinstance(c, str) for c in plan['commands']
        )
    except (TypeError, KeyError) as error:
        raise FileError(out / PLAN, str(error)) from error
    if not good:
        raise FileError(out / PLAN, 'a comparison or a command is none')
    return found, plan['commands']


def as_planned(out: Path, wanted: list[Comparison]) -> list[Comparison]:
    """The same comparisons, with the plain epochs of those that were asked for before.

    The ratio of the steps is measured again where the device or ``--jobs`` is another one; all
    seeds of a comparison are still compared with plain runs of one length.
    """
    lengths = {
        (c.plain, c.distilled, c.persons, c.epochs): c.plain_epochs for c in read_plan(out)[0]
    }
    found = []
    for c in wanted:
        known = lengths.get((c.plain, c.distilled, c.persons, c.epochs))
        if known and c.plain_epochs and known != c.plain_epochs:
            sys.stderr.write(
                f'{c.distilled}: now measured, {c.plain} could train for {c.plain_epochs} epochs; '
                f'it keeps to {known}, as its seeds so far (another --out starts anew)\n'
            )
            c = replace(c, plain_epochs=known)
        found.append(c)
    return found


def extend_plan(out: Path, wanted: list[Comparison], command: str) -> None:
    """Add comparisons to those asked for before; seeds of the same comparison are united."""
    known, commands = read_plan(out)
    merged: dict[tuple, Comparison] = {}
    for c in [*known, *wanted]:
        key = (c.plain, c.distilled, c.persons, c.epochs)
        old = merged.get(key)
        if old is not None:
            seeds = tuple(sorted({*old.seeds, *c.seeds}))
            fields = {'seeds': seeds, 'plain_epochs': old.plain_epochs or c.plain_epochs}
            c = Comparison(**{**asdict(c), **fields})
        merged[key] = c
    commands = [*commands, *([] if command in commands else [command])]
    write_json(
        out / PLAN, {'comparisons': [asdict(c) for c in merged.values()], 'commands': commands}
    )


# ------------------------------------------------------------------------- run folders


def run_config(out: Path, run: Run, cfg: Config) -> tuple[Config, dict]:
    """The config that a run trains with, and the settings that its result depends on."""
    source = annotation_file(cfg.train_dataloader.dataset)
    cfg = Config(cfg.to_dict())
    stretch(cfg, run.epochs)
    settings = influential(cfg)
    tested = annotation_file(cfg.test_dataloader.dataset)
    files = {'annotations': _digest(source), 'test_annotations': _digest(tested)}
    settings['gain'] = {**asdict(run), **files}
    weights = {s.key: _digest(Path(s.name)) for s in weight_sources(cfg._cfg_dict)}
    weights.pop('load_from', None)  # see Folders
    if any(weights.values()):  # an address, or a file that is not there, is told by its name
        settings['gain']['weights'] = {key: found for key, found in weights.items() if found}
    if run.persons is not None:
        subset(cfg, run.persons, out / 'subsets')
        for hook in cfg.get('custom_hooks') or []:  # a cache is of one training set
            if type_name(hook) == 'TeacherCacheHook':
                hook.path = str(Path(hook.path, f'{run.persons}_persons'))
    return cfg, settings


def influential(cfg: Config) -> dict:
    """The settings of a config that a result can depend on."""
    settings = json.loads(json.dumps(cfg.to_dict(), default=repr, sort_keys=True))
    for key in NO_INFLUENCE:
        settings.pop(key, None)
    for hook in ('logger', 'checkpoint'):
        (settings.get('default_hooks') or {}).pop(hook, None)
    return settings


def _digest(file: Optional[Path]) -> Optional[str]:
    if file is None or not file.is_file():
        return None
    return hashlib.sha256(file.read_bytes()).hexdigest()


class Folders:
    """Prepares the folders of runs from the configs of their methods.

    A folder holds ``run.json`` (what is run, and its settings), ``config.py``,
    ``plain.py`` (the model whose initial weights the deployed part takes, and the ``load_from``
    they come from, if there is one; not in plain runs),
    ``work/`` (MMEngine's files: checkpoints, logs), ``progress.json``, ``log.txt``, and in the
    end ``student/``, ``persons.npz``, ``metrics.json`` and, last, ``result.json``.

    Args:
        out: The harness's folder.
        configs: Config by name of the method.
        plain: Name of the plain method.
    """

    def __init__(self, out: Path, configs: dict[str, Config], plain: str):
        self.out, self.configs, self.plain = out, configs, plain

    def _contents(self, run: Run) -> tuple[Config, dict, Optional[dict]]:
        cfg, settings = run_config(self.out, run, self.configs[run.method])
        plain = None
        weights = self.configs[self.plain].get('load_from')
        if weights:
            settings['gain']['load_from'] = _digest(Path(weights)) or weights
        if run.method != self.plain:
            model = self.configs[self.plain].model.to_dict()
            settings['gain']['plain_model'] = json.loads(json.dumps(model, default=repr))
            plain = {'model': model, 'load_from': weights}
        return cfg, settings, plain

    def check(self, run: Run) -> None:
        """Raise a SettingError if the run cannot be made, or its folder holds another one."""
        stretch(Config(self.configs[run.method].to_dict()), run.epochs)
        folder = run.folder(self.out)
        known = read_json(folder / 'run.json', keys=['settings'])
        if known is None or not (is_finished(folder) or any(folder.glob('work/epoch_*.pth'))):
            return
        settings = json.loads(json.dumps(self._contents(run)[1]))  # as the file's are
        changed = differences(known['settings'], settings)
        if changed:
            named = [f'{key}: {short(old)}, now {short(new)}' for key, old, new in changed[:4]]
            text = '; '.join(named)
            raise SettingError(
                f'{folder} was made with other settings: {text}. '
                'Give another --out, another name to the config, or delete that folder'
            )

    def prepare(self, run: Run) -> Path:
        """Write what the run needs into its folder, and return the folder."""
        folder = run.folder(self.out)
        cfg, settings, plain = self._contents(run)
        write_whole(folder / 'config.py', cfg.dump)
        if plain is not None:
            write_whole(folder / 'plain.py', Config(plain).dump)
        about = {'run': asdict(run), 'settings': settings}
        write_json(folder / 'run.json', about)
        return folder


def is_finished(folder: Path) -> bool:
    """Whether a run has its result."""
    return (folder / 'result.json').is_file()


def fingerprint(settings: dict) -> str:
    """Hash of the settings that a result depends on."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
