"""Train one model, export its student and evaluate it.

Started by the harness in a process of its own (``python -m mmpose_kd.gain.one_run FOLDER``), with
the folder that :class:`~mmpose_kd.gain.plan.Folders` prepared. Started again after it was
stopped, it goes on from the newest checkpoint.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpose.registry import MODELS

from ..core.checkpoints import read_checkpoint, whole_checkpoints, write_checkpoint
from ..core.deployed import training_part
from ..core.sole_call import sole_call
from ..core.weights import state_of
from ..core.whole_checkpoints import KEPT
from ..export import export_student, plain_config, training_hooks
from ..records import learning_curve
from ..version import __version__
from .fair import SeedEpoch, fair
from .files import read_json, write_json, write_whole
from .progress import read_progress
from .start import initial_weights
from .stock import EVALUATE


class ProgressFile(Hook):
    """Keeps ``progress.json``: the training seconds of each epoch, without validation.

    Args:
        file (Path): Where to write.
        epochs (int): Epochs of the whole run.
    """

    def __init__(self, file: Path, epochs: int):
        self.file, self.epochs = file, epochs
        self.seconds: list[float] = []

    def before_train(self, runner) -> None:
        """Keep what was measured up to the checkpoint that the run goes on from."""
        self.seconds = (read_progress(self.file) or {'seconds': []})['seconds'][: runner.epoch]
        self._write(runner)

    def before_train_epoch(self, runner) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def after_train_epoch(self, runner) -> None:
        """Add the epoch."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self.start)
        self._write(runner)

    def _write(self, runner) -> None:
        samples = len(runner.train_dataloader.dataset)
        write_json(self.file, {'epochs': self.epochs, 'samples': samples, 'seconds': self.seconds})


class CheckStart(Hook):
    """Makes sure that the training starts from the weights it was given.

    Args:
        state (dict): The state dict.
    """

    def __init__(self, state: dict):
        self.state = state

    def before_train(self, runner) -> None:
        """After the checkpoint was loaded, before the first step."""
        now = runner.model.state_dict()
        wrong = [k for k in self.state if k not in now or not _same(now[k], self.state[k])]
        if wrong:
            raise RuntimeError(f'the training does not start from the common weights: {wrong[:3]}')


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a.detach().cpu(), b.cpu())


def newest_checkpoint(work: Path) -> Optional[Path]:
    """The whole checkpoint of the latest epoch: a stop may leave half a file."""
    return next(reversed(whole_checkpoints(work)), None)


def build_runner(folder: Path) -> Runner:
    """The Runner of a run, at its start or to go on from its newest checkpoint."""
    about = read_json(folder / 'run.json')['run']
    cfg = fair(Config.fromfile(folder / 'config.py'), about['seed'])
    init_default_scope(cfg.get('default_scope', 'mmpose'))
    work = folder / 'work'
    cfg.work_dir = str(work)
    checkpoint = dict(type='CheckpointHook', interval=1, max_keep_ckpts=KEPT)
    cfg.default_hooks = {**(cfg.get('default_hooks') or {}), 'checkpoint': checkpoint}
    start = newest_checkpoint(work)
    hooks: list[tuple[Hook, str]] = [
        (SeedEpoch(about['seed']), 'VERY_HIGH'),
        (ProgressFile(folder / 'progress.json', about['epochs']), 'VERY_HIGH'),
    ]
    if start is None:
        given = Config.fromfile(folder / 'plain.py') if (folder / 'plain.py').is_file() else None
        load_from = (cfg if given is None else given).get('load_from')
        plain = None if given is None else given.model
        state = initial_weights(cfg.model, plain, about['seed'], load_from)
        start = folder / 'init.pth'
        write_checkpoint({'state_dict': state, 'meta': {}}, start)
        hooks.append((CheckStart(state), 'VERY_LOW'))
    cfg.resume = start.parent == work
    cfg.load_from = str(start)
    runner = Runner.from_cfg(cfg)
    for hook, priority in hooks:
        runner.register_hook(hook, priority=priority)
    return runner


def train(folder: Path) -> Path:
    """Train to the end and return the last checkpoint."""
    epochs = read_json(folder / 'run.json')['run']['epochs']
    last = folder / 'work' / f'epoch_{epochs}.pth'
    if newest_checkpoint(folder / 'work') != last:
        build_runner(folder).train()
    return last


def write_student(folder: Path, checkpoint: Path) -> Path:
    """Write ``student/student.py`` and ``student.pth``: a stock model, whatever was trained."""
    cfg = Config.fromfile(folder / 'config.py')
    init_default_scope(cfg.get('default_scope', 'mmpose'))
    student = folder / 'student'
    if training_hooks(cfg) or training_part(MODELS.build(cfg.model)) is not None:
        export_student(folder / 'config.py', checkpoint, student)
        return student
    state = state_of(read_checkpoint(checkpoint), checkpoint)
    write_checkpoint({'state_dict': state}, student / 'student.pth')
    write_whole(student / 'student.py', plain_config(cfg, cfg.model).dump)
    return student


def finish(folder: Path, checkpoint: Path) -> None:
    """Export, evaluate, and write the result."""
    student = write_student(folder, checkpoint)
    command = [sys.executable, str(EVALUATE), str(student), str(folder)]
    subprocess.run(command, check=True)
    progress = read_progress(folder / 'progress.json')
    result = {
        **read_json(folder / 'run.json')['run'],
        'samples': progress['samples'],
        'seconds': sum(progress['seconds']),
        'threads': torch.get_num_threads(),
        'versions': {'torch': torch.__version__, 'mmpose_kd': __version__},
        'curve': learning_curve(folder / 'work'),
        'metrics': read_json(folder / 'metrics.json'),
    }
    for path in folder.glob('work/epoch_*.pth'):
        if path != checkpoint:
            path.unlink()
    for path in folder.glob('work/dskd_*.pth'):  # guides, of use to a resumed run only
        path.unlink()
    (folder / 'init.pth').unlink(missing_ok=True)
    write_json(folder / 'result.json', result)


def main(folder: Path) -> None:
    """Do what is left to do of the run in a folder."""
    with sole_call(folder):
        shutil.rmtree(folder / 'student', ignore_errors=True)
        finish(folder, train(folder))


if __name__ == '__main__':
    main(Path(sys.argv[1]))
