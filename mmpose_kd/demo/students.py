"""The stock models that the demo trains, plain and distilled, and the teacher."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from ..core.recipe import Recipe, type_name
from .data import Data

CONFIGS = Path(__file__).parents[1] / '.mim/configs/demo'
#: configs there; a method gets the first one that it fits
STUDENTS = ('heatmap_res18-small', 'deeppose_res18-small', 'integral_res18-small')
TEACHER = 'teacher_res18-half'


def fitting_student(recipe: Recipe, data: Data) -> tuple[str, Config]:
    """Name and config of the plain model for a method.

    Raises:
        ValueError: The method fits none; the message has its reasons.
    """
    reasons = []
    for name in STUDENTS:
        cfg = demo_config(name, data)
        reason = recipe.misfit(cfg.to_dict())
        if reason is None:
            return name, cfg
        reasons.append(f'{name}: {reason}')
    raise ValueError(
        f"--method {recipe.name} fits none of the demo's models: {'; '.join(reasons)}"
    )


def demo_config(name: str, data: Data) -> Config:
    """One of the demo's configs, for a data set."""
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    head = cfg.model.head
    for key in ('num_joints', 'out_channels'):
        if key in head:
            head[key] = len(data.keypoints)
    for split, names in (('train', ['train']), ('val', ['val', 'test'])):
        for loader in names:
            dataset = cfg[f'{loader}_dataloader'].dataset
            dataset.data_root = ''
            dataset.ann_file = str(data.annotations[split])
            dataset.data_prefix.img = str(data.images[split])
            if data.metainfo is not None:
                dataset.metainfo = dict(from_file=str(data.metainfo))
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = str(data.annotations['val'])
    if not data.flips:
        pipeline = cfg.train_dataloader.dataset.pipeline
        kept = [step for step in pipeline if type_name(step) != 'RandomFlip']
        cfg.train_dataloader.dataset.pipeline = kept
    for left_over in ('dataset', 'train_pipeline', 'val_pipeline', 'codec'):  # help variables
        cfg.pop(left_over, None)
    return cfg
