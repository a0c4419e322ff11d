"""Small distillers that tests share."""

import torch
from mmengine.config import Config
from mmengine.hooks.ema_hook import EMAHook  # noqa: F401  (registered)
from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample

from mmpose_kd.distiller.entry import DistillBatch

from .models import (
    HRNET,
    RESNET,
    build,
    plain_config,
    randomize,
    total,
)

MSE = dict(type='KeypointMSELoss', use_target_weight=True)


ENTRY = dict(loss=MSE, student='head.final_layer', teacher='head.final_layer')


def untrained(config, **settings):
    """A teacher with random weights."""
    return dict(config=config, checkpoint=None, **settings)


def distiller_config(*entries, student=None, teachers=None, **changes):
    return dict(
        type='PoseDistiller',
        student=student or plain_config(RESNET),
        teachers=teachers or [untrained(plain_config(HRNET))],
        distill=[{**ENTRY, **entry} for entry in entries or [{}]],
        **changes,
    )


def distiller(*entries, **settings):
    model = build(distiller_config(*entries, **settings))
    randomize(model.student)
    for n, teacher in enumerate(model.teachers):
        randomize(teacher.model, seed=n + 1)
    return model.train()


def gradients(model, losses):
    model.zero_grad()
    total(losses).backward()
    return {name: p.grad for name, p in model.named_parameters()}


TWO = [
    untrained(plain_config(HRNET)),
    untrained(plain_config(RESNET)),
]


def batch_of(student, teachers, weight, task_loss=None):
    """What an entry is given, with keypoint weights (B, K) alone in the samples."""
    labels = [InstanceData(keypoint_weights=one[None]) for one in weight]
    samples = [PoseDataSample(gt_instance_labels=one) for one in labels]
    return DistillBatch(student, teachers, samples, task_loss)


def saved_teacher(folder):
    """A heatmap teacher of 17 keypoints with random weights: its config and checkpoint."""
    model = plain_config(HRNET)
    model['head']['out_channels'] = 17
    Config(dict(model=model)).dump(folder / 'teacher.py')
    torch.save({'state_dict': randomize(build(model)).state_dict()}, folder / 'teacher.pth')
    return dict(config=str(folder / 'teacher.py'), checkpoint=str(folder / 'teacher.pth'))
