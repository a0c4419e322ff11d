"""The whole way once, small: draw data, train with OKDHP, compare the outputs, export, look."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Union

import cv2
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from mmpose.registry import MODELS
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..export import export_student
from ..records import newest_records, validation_record
from .contact_sheet import contact_sheet
from .drawn_people import draw_dataset
from .pictures import draw_curves, draw_panel

CONFIG = Path(__file__).parents[1] / '.mim/configs/demo/okdhp_hrnet-small_drawn.py'

TRAIN_PICTURES, VAL_PICTURES = 700, 100


class _ProgressHook(Hook):
    """A bar over the iterations, and the AP of the untrained model for comparison."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self.ap_at_start = None

    def before_train(self, runner: Runner) -> None:
        self.ap_at_start = _evaluate(runner)
        self.task = self.progress.add_task('training', total=runner.max_iters, ap='')

    def after_train_iter(self, runner: Runner, *_, **__) -> None:
        self.progress.advance(self.task)

    def after_val_epoch(self, runner: Runner, metrics=None) -> None:
        self.progress.update(self.task, ap=f'AP {metrics["coco/AP"]:.3f}')


@torch.no_grad()
def _evaluate(runner: Runner) -> float:
    """AP of the model as it is, without calling any hook."""
    loop = runner.val_loop
    runner.model.eval()
    for batch in loop.dataloader:
        loop.evaluator.process(data_samples=runner.model.val_step(batch), data_batch=batch)
    return loop.evaluator.evaluate(len(loop.dataloader.dataset))['coco/AP']


def demo_config(out: Path) -> Config:
    """The demo's config with its data and its work directory in ``out``."""
    cfg = Config.fromfile(CONFIG)
    data = out / 'data'
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = str(data)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = str(data / 'annotations/person_keypoints_val2017.json')
    cfg.data_root = str(data)
    cfg.work_dir = str(out / 'train')
    cfg.env_cfg.dist_cfg.backend = 'gloo'
    cfg.randomness = dict(seed=0)
    return cfg


def run(out: Union[str, Path]) -> None:
    """Run the demo.

    Args:
        out: Folder for everything it makes. Data that is there already is used again.
    """
    # of MMPose's own making, and nothing to do about it here
    warnings.filterwarnings('ignore', module=r'torchvision\.io|mmpose\.datasets')
    console, out, start = Console(file=sys.stdout), Path(out).absolute(), time.time()
    out.mkdir(parents=True, exist_ok=True)
    draw_dataset(out / 'data', TRAIN_PICTURES, VAL_PICTURES, seed=0)

    cfg = demo_config(out)
    # not closed before the process ends: MMEngine's logger keeps it
    log = (out / 'train.log').open('w', buffering=1)
    console.print(f'training with OKDHP on {_device()}; the log is {log.name}', soft_wrap=True)
    columns = [TextColumn('{task.description}'), BarColumn(), TextColumn('{task.fields[ap]}')]
    columns += [TimeElapsedColumn(), TextColumn('left'), TimeRemainingColumn()]
    bar = Progress(*columns, console=Console(stderr=True))
    with bar, contextlib.redirect_stdout(log):
        hook = _ProgressHook(bar)
        runner = Runner.from_cfg(cfg)
        runner.register_hook(hook)
        runner.train()

        checkpoint = out / 'train' / f'epoch_{runner.epoch}.pth'
        config = out / 'train' / 'config.py'
        cfg.dump(config)
        weights, student_config = export_student(
            config, checkpoint, out, branch='best', force=True
        )

    console.print('testing the exported student with MMPose alone')
    student_ap = _test_with_mmpose(student_config, weights, out / 'student_test')
    record = validation_record(out / 'train', runner.epoch)
    table = _table(record, hook.ap_at_start, student_ap)
    (out / 'results.md').write_text(table)

    student = MODELS.build(Config.fromfile(student_config).model)
    student.load_state_dict(torch.load(weights, weights_only=True)['state_dict'])
    draw_curves(newest_records(out / 'train'), out / 'curves.png')
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    step = max(len(dataset) // 5, 1)
    persons = range(step // 2, len(dataset), step)
    draw_panel(runner.model.cpu(), student, dataset, persons, out / 'panel.png')
    sheet = contact_sheet(out / 'data', 'val', rows=3, cols=5, skeleton=True)
    cv2.imwrite(str(out / 'data.jpg'), sheet)

    console.print(table, markup=False)
    console.print(f'finished in {time.time() - start:.0f} s; in {out}:')
    for name, what in (
        ('results.md', 'AP of every branch, the ensemble and the student'),
        ('curves.png', 'losses and AP during training'),
        ('panel.png', 'what each branch, the ensemble and the student see'),
        ('data.jpg', 'some of the drawn pictures'),
        ('student.py', 'the student, a plain MMPose config'),
        ('student.pth', 'its weights'),
    ):
        console.print(f'  {name:12} {what}', markup=False, highlight=False)


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else 'the CPU'


def _test_with_mmpose(config: Path, weights: Path, work_dir: Path) -> float:
    """AP of the student from MMPose's own test tool, in a process without this package."""
    command = [sys.executable, '-m', 'mim', 'test', 'mmpose', str(config)]
    command += ['--checkpoint', str(weights), '--work-dir', str(work_dir)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'MMPose could not test the student:\n{done.stderr[-2000:]}')
    results = max(work_dir.glob('*/*.json'))
    return json.loads(results.read_text())['coco/AP']


def _table(record: dict, at_start: float, student: float) -> str:
    """AP of every output as a Markdown table."""
    rows = [('branch 0 before training', at_start)]
    rows += [
        (key.partition('/')[0].replace('branch', 'branch '), value)
        for key, value in sorted(record.items())
        if key.endswith('/coco/AP')
    ]
    rows.append(('exported student, in MMPose alone', student))
    lines = ['| output | AP |', '|---|---|', *(f'| {name} | {ap:.3f} |' for name, ap in rows)]
    return '\n'.join(lines) + '\n'
