"""The runs of a cell that are not in its ledger: teachers first, then seed by seed."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from mmpose_kd.core.weight_sources import weight_sources
from mmpose_kd.gain.command import device, time_ratio
from mmpose_kd.gain.configs import annotation_file, load_config
from mmpose_kd.gain.files import read_json, write_json, write_text, write_whole
from mmpose_kd.gain.plan import Folders, Run, is_finished
from mmpose_kd.gain.results import read_result
from mmpose_kd.gain.subset import is_person
from mmpose_kd.gain.workers import run_all

from .cell import TEACHERS, Cell
from .ledger import Ledger, Row
from .methods import METHODS


@dataclass(frozen=True)
class Wanted:
    """A run of a cell.

    Attributes:
        head: Of the student.
        method: ``'plain'`` or a key of ``METHODS``.
        epochs: Of the training.
        seed: Of the training.
    """

    head: str
    method: str
    epochs: int
    seed: int

    @property
    def name(self) -> str:
        """Of its config, and so of the method in the harness."""
        return f'{self.method}_{self.head}'


class CellRun:
    """A cell at work in a folder.

    Args:
        cell: Which.
        out: Folder for runs and configs.
        part: ``'val'``: students are tested on the validation file; ``'tune'``: on persons of
            the training file that no training sees.
        ledger: What is done already.
        jobs: Runs side by side.
    """

    def __init__(self, cell: Cell, out: Path, part: str, ledger: Ledger, jobs: int):
        self.cell, self.part, self.ledger, self.jobs = cell, part, ledger, jobs
        self.out = out / f'{cell.name}_{part}'
        self.out.mkdir(parents=True, exist_ok=True)
        self.configs: dict[str, Config] = {}
        self.ratios: dict[tuple[str, str], float] = {}

    # -------------------------------------------------------------------- configs

    def plain(self, head: str) -> Config:
        """The plain config of a head, on this part of the data."""
        name = f'plain_{head}'
        if name not in self.configs:
            cfg = load_config(str(self.cell.heads[head]))
            if self.part == 'tune':
                tested = kept_aside(cfg, self.cell, self.out / 'data')
                for loader in (cfg.val_dataloader, cfg.test_dataloader):
                    loader.dataset.ann_file = str(tested.absolute())
                for evaluators in (cfg.val_evaluator, cfg.test_evaluator):
                    for evaluator in evaluators:
                        if 'ann_file' in evaluator:
                            evaluator.ann_file = str(tested.absolute())
            self._keep(name, cfg)
        return self.configs[name]

    def config(self, head: str, method: str) -> Config:
        """The config of a method; those that need teachers can be made when these are trained."""
        plain, name = self.plain(head), f'{method}_{head}'
        if method == 'plain':
            return plain
        if name not in self.configs:
            teachers = [self.teacher(run) for run in self.teachers(head, method)]
            made = METHODS[method].make(plain.to_dict(), teachers)
            self._keep(name, Config(made))
        return self.configs[name]

    def _keep(self, name: str, cfg: Config) -> None:
        path = self.out / 'configs' / f'{name}.py'
        write_whole(path, cfg.dump)
        self.configs[name] = load_config(str(path))

    def teachers(self, head: str, method: str) -> list[Wanted]:
        """The trainings whose students teach in a method."""
        if method == 'plain':
            return []
        about = METHODS[method]
        seeds = TEACHERS[: about.teachers]
        return [Wanted(about.teacher or head, 'plain', self.cell.epochs, s) for s in seeds]

    def teacher(self, wanted: Wanted) -> dict:
        """Arguments of :class:`~mmpose_kd.distiller.Teacher`."""
        folder = self.run(wanted).folder(self.out).absolute() / 'student'
        return dict(config=str(folder / 'student.py'), checkpoint=str(folder / 'student.pth'))

    # ----------------------------------------------------------------------- runs

    def run(self, wanted: Wanted) -> Run:
        """In the harness."""
        return Run(wanted.name, self.cell.persons, wanted.epochs, wanted.seed)

    def folders(self, head: str, method: str) -> Folders:
        """Where the runs of a method lie."""
        return Folders(self.out, self.pair(head, method), f'plain_{head}')

    def pair(self, head: str, method: str) -> dict[str, Config]:
        """The plain config and a method's, by their names in the harness."""
        return {f'plain_{head}': self.plain(head), f'{method}_{head}': self.config(head, method)}

    def is_known(self, wanted: Wanted) -> bool:
        """Whether the ledger has it."""
        return (self.part, *vars(wanted).values()) in self.ledger.rows

    def ratio(self, head: str, method: str) -> float:
        """Time of a method's training step, in the plain model's: measured once."""
        known = self.known_ratio(head, method)
        if known is not None:
            return known
        configs = self.pair(head, method)
        self.ratios[head, method] = time_ratio(self.out, configs, *configs, self.jobs)
        return self.ratios[head, method]

    def known_ratio(self, head: str, method: str) -> float | None:
        """The same, None if it has not been measured."""
        if method == 'plain':
            return 1.0
        rows = self.ledger.select(self.part, head, method, self.cell.epochs).values()
        here = [row.step for row in rows if row.step_device == device()]
        if here:  # one number for all seeds
            return here[0]
        return self.ratios.get((head, method))

    def wanted(self, heads: list[str], methods: list[str], seeds: list[int]) -> list[Wanted]:
        """What is asked for, with the plain runs of the same epochs, seed by seed."""
        found: dict[Wanted, None] = {}
        for seed in seeds:
            for head in heads:
                own = [m for m in methods if m != 'plain' and head in METHODS[m].heads]
                for method in ['plain', *own]:
                    found[Wanted(head, method, self.cell.epochs, seed)] = None
        return list(found)

    def longer(self, runs: list[Wanted]) -> list[Wanted]:
        """The plain runs that take as long as these, where that is known."""
        found: dict[Wanted, None] = {}
        for run in runs:
            ratio = self.known_ratio(run.head, run.method)
            if run.method != 'plain' and ratio is not None:
                epochs = self.cell.plain_epochs(ratio)
                found[Wanted(run.head, 'plain', epochs, run.seed)] = None
        return list(found)

    def prepare(self, runs: list[Wanted]) -> list[Wanted]:
        """Train the teachers of what the ledger lacks, measure steps, and return what failed."""
        missing = [wanted for wanted in runs if not self.is_known(wanted)]
        needed = [t for w in missing for t in self.teachers(w.head, w.method)]
        failed = self._do(
            [t for t in dict.fromkeys(needed) if not is_finished(self.run(t).folder(self.out))]
        )
        if not failed:
            for wanted in missing:  # while nothing else runs
                self.ratio(wanted.head, wanted.method)
        return failed

    def do(self, runs: list[Wanted]) -> list[Wanted]:
        """Do what the ledger lacks, seed by seed, keep the results, and return what failed."""
        missing = [wanted for wanted in runs if not self.is_known(wanted)]
        return self._do(sorted(missing, key=lambda wanted: wanted.seed))

    def _do(self, runs: list[Wanted]) -> list[Wanted]:
        by_run = {self.run(wanted): wanted for wanted in runs}
        for wanted in runs:
            self.folders(wanted.head, wanted.method).check(self.run(wanted))

        def prepare(run: Run) -> Path:
            wanted = by_run[run]
            folder = self.folders(wanted.head, wanted.method).prepare(run)
            _note_commit(folder)
            return folder

        def finished(run: Run) -> None:
            if run.seed not in TEACHERS:
                self.keep(by_run[run])

        for run in by_run:  # whose result an earlier call has not kept
            if is_finished(run.folder(self.out)):
                finished(run)
        failed = run_all(list(by_run), self.out, prepare, self.jobs, finished)
        return [by_run[run] for run in failed]

    def keep(self, wanted: Wanted) -> None:
        """Add a finished run to the ledger."""
        run = self.run(wanted)
        result = read_result(self.out, run, self.cell.yardstick)
        found = {int(e): next(iter(m.items())) for e, m in result.about['curve'].items()}
        validations = {epoch: value for epoch, (_, value) in found.items()}
        if found and wanted.epochs not in found:  # stopped in the last one: as exported
            name, _ = found[max(found)]
            validations[wanted.epochs] = result.about['metrics']['all'][name]
        curve = ' '.join(f'{e}:{value:.2f}' for e, value in sorted(validations.items()))
        self.ledger.add(
            Row(
                part=self.part,
                head=wanted.head,
                method=wanted.method,
                epochs=wanted.epochs,
                seed=wanted.seed,
                pck02=round(result.pck(0.2), 3),
                pck01=round(result.pck(0.1), 3),
                ap=round(result.oks_ap, 4),
                seconds=round(result.about['seconds'], 1),
                step=round(self.ratio(wanted.head, wanted.method), 3),
                step_device=device(),
                curve=curve,
                device=device(),
                commit=' '.join(_commits(run.folder(self.out))) or commit(),
                settings=self.settings(wanted),
            )
        )

    def settings(self, wanted: Wanted) -> str:
        """Hash of a run's settings, the same for all seeds and wherever its files lie."""
        text = (self.run(wanted).folder(self.out) / 'run.json').read_text(encoding='utf-8')
        settings = json.loads(text)['settings']
        del settings['gain']['seed']
        sources = {s.key: s.name for s in weight_sources(self.configs[wanted.name]._cfg_dict)}
        digests = settings['gain'].pop('weights', {})
        places = [(self.out.absolute(), 'OUT')]
        for key, digest in digests.items():
            if not Path(sources[key]).is_relative_to(self.out.absolute()):
                # a teacher of the cell's own may be trained anew, with other weights
                places.append((sources[key], digest))
        root = Path(self.plain(wanted.head).data_root)
        found = json.dumps(settings, sort_keys=True)
        for place, name in (*places, (root.absolute(), 'DATA'), (root, 'DATA')):
            found = found.replace(str(place), name)
        return hashlib.sha256(found.encode()).hexdigest()[:12]


def kept_aside(cfg: Config, cell: Cell, folder: Path) -> Path:
    """Persons of the training file that the cell's trainings do not see.

    They follow the training's in the order of a hash of their number, so that they are others
    whatever the file's order is.
    """
    source = annotation_file(cfg.train_dataloader.dataset)
    target = folder / f'{cell.name}_tune.json'
    data = json.loads(source.read_text(encoding='utf-8'))
    persons = sorted(
        filter(is_person, data['annotations']),
        key=lambda a: hashlib.sha256(str(a['id']).encode()).digest(),
    )
    chosen = sorted(persons[cell.persons :][: cell.tested], key=lambda a: a['id'])
    pictures = {a['image_id'] for a in chosen}
    images = [image for image in data['images'] if image['id'] in pictures]
    write_text(target, json.dumps({**data, 'images': images, 'annotations': chosen}))
    return target


def _commits(folder: Path) -> list[str]:
    return read_json(folder / 'commits.json', [], kind=list)


def _note_commit(folder: Path) -> None:
    """Keep what a run is begun or gone on with."""
    known = _commits(folder)
    if commit() not in known:
        write_json(folder / 'commits.json', [*known, commit()])


def commit() -> str:
    """Of the project as it is, with a ``+`` if code was changed since; '' outside of git."""
    root = Path(__file__).parents[2]
    code = ['mmpose_kd', 'benchmarks', 'configs']  # results change while a cell runs

    def said(*command: str) -> str:
        return subprocess.check_output(['git', *command], cwd=root, text=True).strip()

    try:
        name = said('rev-parse', '--short', 'HEAD')
        changed = said('status', '--porcelain', '--', *code)  # new files too
    except (OSError, subprocess.CalledProcessError):
        return ''
    return name + '+' * bool(changed)
