"""Small TCD models: a heatmap teacher, and a student with every kind of head."""

from __future__ import annotations

from mmpose_kd.distiller.entry import DistillBatch

from .distillers import untrained
from .models import HRNET, build, plain_config, randomize
from .ocd import HEADS, SIMCC, plain_of

# ResNet's feature is 64 x 2 x 1 here, HRNet's head expects 4 x 16 x 8
ADAPTER = dict(
    type='pixel_shuffle', in_channels=64, out_channels=4, scale_factor=8, upsample_kernel=1
)
TASK = dict(type='ThroughTeacherHead', student='backbone', adapter=ADAPTER, name='task')
CROSS = dict(loss=dict(type='CrossCoordinateLoss'), student='head', teacher='head', name='cross')
OUTPUT = dict(
    regression='head',
    rle='head',
    integral='head[0]',
    dsnt='head[0]',
    simcc=('head[0]', 'head[1]'),
    rtmcc=('head[0]', 'head[1]'),
)


def teacher(config=None, **settings):
    return untrained(config or plain_config(HRNET), **settings)


def small_teacher(size=(192, 256), **settings):
    """A teacher of 17 keypoints for pictures of any size."""
    model = plain_config(HRNET)
    model['head'].update(out_channels=17)
    maps = (size[0] // 4, size[1] // 4)
    model['head']['decoder'].update(input_size=size, heatmap_size=maps)
    return teacher(model, **settings)


def cross(kind):
    """The entry across representations for a kind of head."""
    bins = HEADS[kind]['head']['decoder'] is SIMCC
    loss = dict(type='CrossSimCCLoss' if bins else 'CrossCoordinateLoss')
    return {**CROSS, 'loss': loss, 'student': OUTPUT[kind]}


def tcd_of(*entries, kind='regression', teachers=None, student=None):
    return dict(
        type='PoseDistiller',
        student=student or plain_of(kind),
        teachers=teachers or [teacher()],
        distill=list(entries) or [TASK, cross(kind)],
    )


def distiller(*entries, **settings):
    model = build(tcd_of(*entries, **settings))
    randomize(model.student)
    for n, one in enumerate(model.teachers):
        randomize(one.model, seed=n + 1)
    return model.train()


def task_loss(model, feature, samples):
    """What the entry through the head makes of a student's feature."""
    return model.distill[0](DistillBatch([feature], {}, samples, feature.sum()))
