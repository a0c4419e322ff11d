"""A training step of PoseDistiller against its parts, and against MMPose's own distiller."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS, TRANSFORMS
from torch import Tensor

from mmpose_kd.distiller.cache import TeacherCache
from mmpose_kd.distiller.teacher import Teacher

from .models import CONFIGS, build, total
from .report import steps_table
from .timing import Bench

STUDENT = 'student step'
PARTS = 'student step + teacher forward'
STEP = 'Forward, losses, training accuracy and backward, without the optimiser.'


def distiller_table(
    bench: Bench,
    names: Sequence[str] = ('hhd_mobilenetv2_mpii', 'dwpose_rtmpose-m_coco-wholebody'),
    batch: int = 8,
) -> str:
    """HHD and DWPose's first stage: what the distiller adds to student and teacher."""
    tables = []
    for name in names:
        cfg = offline(name)
        images, samples = batch_of(cfg, batch, bench.device)
        model = build(cfg.model, bench.device)
        model.init_weights()
        with tempfile.TemporaryDirectory() as folder:
            cache = TeacherCache(Path(folder, 'teacher.sqlite'), {})
            candidates = {
                STUDENT: step(model.student, images, samples),
                'teacher forward': forward(model.teachers[0], images),
                PARTS: both(model, images, samples),
                'PoseDistiller': step(model, images, samples),
                'PoseDistiller, cached teacher': cached(model, images, samples, cache),
            }
            if name.startswith('dwpose'):
                own = mmpose_dwpose(cfg, bench.device)
                candidates["MMPose's DWPoseDistiller"] = step(own, images, samples)
            times = bench.interleaved(candidates, settle=True)
            cache.close()
        tables.append(
            steps_table(
                f'PoseDistiller: {name}',
                f'{STEP} Batch {batch}, random weights.',
                times,
                candidates,
                PARTS,
                STUDENT,
            )
        )
    return '\n'.join(tables)


def offline(name: str) -> Config:
    """A shipped config without checkpoints: what it costs does not depend on the weights."""
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    init_default_scope('mmpose')
    for teacher in cfg.model.get('teachers', ()):
        teacher.checkpoint = None
    student = cfg.model.get('student', cfg.model)
    student.pop('init_cfg', None)
    student.backbone.pop('init_cfg', None)
    return cfg


def batch_of(cfg: Config, batch: int, device: str) -> tuple[Tensor, list]:
    """Normalised images (B, 3, H, W), and samples from the config's own last two steps."""
    rng = np.random.default_rng(0)
    pipeline = cfg.train_dataloader.dataset.pipeline
    width, height = next(step.input_size for step in pipeline if step.type == 'TopdownAffine')
    head = cfg.model.get('student', cfg.model).head
    head = head.get('heatmap', head)  # of OCDHead
    k = head.get('num_joints', head.get('out_channels'))
    steps = Compose([TRANSFORMS.build(step) for step in pipeline[-2:]])
    samples = []
    for _ in range(batch):
        results = dict(
            img=np.zeros((height, width, 3), np.uint8),
            input_size=(width, height),
            transformed_keypoints=rng.uniform(0, (width, height), (1, k, 2)).astype(np.float32),
            keypoints_visible=np.ones((1, k), np.float32),
            dataset_keypoint_weights=np.ones(k, np.float32),
        )
        samples.append(steps(results)['data_samples'].to(device))
    torch.manual_seed(0)
    return torch.randn(batch, 3, height, width, device=device), samples


def student_step(name: str, batch: int, device: str = 'cpu') -> Callable[[], None]:
    """A training step of a shipped config's student alone."""
    cfg = offline(name)
    return step(build(cfg.model.student, device), *batch_of(cfg, batch, device))


def step(model: BaseModel, images: Tensor, samples: list) -> Callable[[], None]:
    """A training step without the optimiser."""

    def run() -> None:
        model.zero_grad(set_to_none=True)
        total(model.loss(images, samples)).backward()

    return run


def cached(
    model: BaseModel, images: Tensor, samples: list, cache: TeacherCache
) -> Callable[[], None]:
    """The distiller's step with all that the teacher says in a cache."""
    for i, sample in enumerate(samples):
        sample.set_metainfo(dict(augmentation=(str(i), 0), picture=0))
    teacher, run_step = model.teachers[0], step(model, images, samples)

    def run() -> None:
        teacher.cache = cache
        try:
            run_step()
        finally:
            teacher.cache = None

    return run


def forward(teacher: Teacher, images: Tensor) -> Callable[[], None]:
    """A teacher's forward pass, in its own precision."""

    def run() -> None:
        teacher.forward_head(images)

    return run


def both(model: BaseModel, images: Tensor, samples: list) -> Callable[[], None]:
    """The student's step and the teacher's forward pass, one after the other."""
    parts = step(model.student, images, samples), forward(model.teachers[0], images)

    def run() -> None:
        for part in parts:
            part()

    return run


def mmpose_dwpose(cfg: Mapping, device: str) -> BaseModel:
    """MMPose's own distiller for the same pair, with the same losses."""
    feature = dict(student_channels=768, teacher_channels=1024, alpha_fea=0.00007)
    methods = [
        dict(type='FeaLoss', name='loss_fea', use_this=True, **feature),
        dict(type='KDLoss', name='loss_logit', use_this=True, weight=0.1),
    ]
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, f'{name}.py')) for name in ('student', 'teacher')]
        ours = MODELS.build(copy.deepcopy(cfg['model']))
        models = ours.student_config, ours.teachers[0].config
        for file, model in zip(files, models):
            Config(dict(model=model)).dump(file)
        distiller = dict(
            type='DWPoseDistiller',
            student_cfg=files[0],
            teacher_cfg=files[1],
            distill_cfg=[ConfigDict(methods=methods)],
        )
        built = build(distiller, device)
    built.set_epoch = lambda: None  # reads a Runner's epoch
    built.epoch, built.max_epochs = 0, 1
    return built
