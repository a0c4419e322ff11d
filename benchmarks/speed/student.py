"""The exported student against the plain model: parameters, MACs and latency."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor

from mmpose_kd.export import export_student

from .models import Network, build, hourglass, macs, random_batch, shipped
from .report import table
from .timing import Bench


def networks() -> dict[str, Network]:
    """Whose students are measured."""
    return {
        'hourglass 2-stack': hourglass(),
        'ResNet-18': shipped('okdhp_res18_mpii'),
        'HRNet-w32 256 x 192': shipped('okdhp_hrnet_coco'),
    }


def student_table(bench: Bench, measured: Optional[Mapping[str, Network]] = None) -> str:
    """Ratios of the exported student to the stock model that is built from its own config."""
    rows = []
    for name, network in (measured or networks()).items():
        images, _ = random_batch(network, bench.device)
        plain = build(network.plain(), bench.device).eval()
        student = exported(network, bench.device).eval()
        times = bench.interleaved(
            {
                'plain': functools.partial(predict, plain, images),
                'student': functools.partial(predict, student, images),
            },
            repeats=3,
        )
        parameters, work = (
            f'{ours / stock:.2f} ({stock:,})'
            for ours, stock in zip(cost(student, images[:1]), cost(plain, images[:1]))
        )
        latency = f'{times.ratio("student", "plain"):.2f} ({times.ms("plain"):.0f} ms)'
        rows.append((name, parameters, work, latency, times.spread('student', 'plain')))
    return table(
        'The exported student in units of the plain model',
        'Student: the model saved, exported, and built from the exported files. In brackets the '
        "plain model's own numbers. Latency: the network without decoding, batch 2.",
        ('model', 'parameters', 'MACs an image', 'latency', 'lowest to highest'),
        rows,
    )


@torch.no_grad()
def predict(model: BaseModel, images: Tensor) -> None:
    """The network of a pose estimator, without decoding."""
    model(images, None, mode='tensor')


def exported(network: Network, device: str) -> BaseModel:
    """The student, after the way through a checkpoint and the export."""
    model = network.okdhp()
    size = dict(type='TopdownAffine', input_size=network.codec['input_size'])
    cfg = Config(dict(model=model, val_dataloader=dict(dataset=dict(pipeline=[size]))))
    with tempfile.TemporaryDirectory() as folder:
        config, checkpoint = Path(folder, 'okdhp.py'), Path(folder, 'okdhp.pth')
        cfg.dump(config)
        torch.save({'state_dict': build(model).state_dict()}, checkpoint)
        weights, config = export_student(config, checkpoint, folder)
        student = build(Config.fromfile(config).model)
        state = torch.load(weights, weights_only=True)['state_dict']
    student.load_state_dict(state, strict=True)
    return student.to(device)


def cost(model: BaseModel, image: Tensor) -> tuple[int, int]:
    """Parameters, and multiply-accumulates of one image (1, 3, H, W)."""
    return sum(p.numel() for p in model.parameters()), macs(lambda: predict(model, image))
