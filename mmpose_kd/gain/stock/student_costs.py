"""What exported students cost: ``python student_costs.py OUT.json STUDENT_FOLDER...``.

Parameters, multiply-adds, and the time of a single image on the GPU or with one thread, which
all students take turns at in one process. mmpose_kd cannot be imported in it, unless a student
keeps a class of it, such as UnbiasedIntegralHead, and so names it in its ``custom_imports``.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS
from torch import nn

WARM_UP, ROUNDS = 5, 60


def input_size(cfg: Config) -> tuple[int, int]:
    """Width and height of the model's input."""
    for pipeline in pipelines(cfg.test_dataloader.dataset):
        for transform in pipeline:
            if 'input_size' in transform:
                return tuple(transform['input_size'])
    raise ValueError('test_dataloader.dataset.pipeline has no transform with input_size')


def pipelines(dataset: dict) -> Iterator[list]:
    """Those of a data set and of the data sets that it is made of, the outermost first."""
    yield dataset.get('pipeline') or []
    for inner in [*(dataset.get('datasets') or []), dataset.get('dataset')]:
        if inner:
            yield from pipelines(inner)


def picture_channels(model: BaseModel) -> int:
    """Channels of the pictures that a model is for: its mean's, or its first convolution's."""
    mean = getattr(model.data_preprocessor, 'mean', None)
    if mean is not None and mean.numel() > 1:
        return mean.numel()
    convolutions = (m for m in model.modules() if isinstance(m, nn.Conv2d))
    return next((conv.in_channels for conv in convolutions), 3)


class Network(nn.Module):
    """The network of a pose estimator without decoding: images (B, C, H, W) in."""

    def __init__(self, model: BaseModel):
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor):
        """What the head returns."""
        return self.model(image, None, mode='tensor')


def count(model: nn.Module, image: torch.Tensor) -> dict:
    """Parameters and multiply-adds; the latter None if MMEngine cannot follow the model."""
    parameters = sum(p.numel() for p in model.parameters())
    try:
        macs = get_model_complexity_info(
            model, inputs=(image,), show_table=False, show_arch=False
        )['flops']
    except Exception:  # tracing fails in many ways, and must not cost the report
        macs = None
    return {'parameters': parameters, 'macs': macs}


def seconds(model: nn.Module, image: torch.Tensor) -> float:
    """Time of one forward pass."""
    start = time.perf_counter()
    model(image)
    if image.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


@torch.no_grad()
def measure(students: list[Path]) -> list[dict]:
    """``parameters``, ``macs`` and ``seconds`` (one per round) of each student."""
    torch.set_num_threads(1)  # several wait for each other where other work goes on
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    pairs, found = [], []
    for student in students:
        cfg = Config.fromfile(student / 'student.py')
        init_default_scope(cfg.get('default_scope', 'mmpose'))
        model = MODELS.build(copy.deepcopy(cfg.model))
        model.eval()  # not chained: some stock models return None from it
        width, height = input_size(cfg)
        image = torch.zeros(1, picture_channels(model), height, width)
        model = Network(model)
        found.append({**count(model, image), 'seconds': []})
        pairs.append((model.to(device), image.to(device)))
    for i in range(WARM_UP + ROUNDS):
        # forth and back: what comes first in a round is not at an advantage
        for j in range(len(pairs))[:: 1 if i % 2 else -1]:
            taken = seconds(*pairs[j])
            if i >= WARM_UP:
                found[j]['seconds'].append(taken)
    return found


def needs_package(student: Path) -> bool:
    """Whether the student's config asks for mmpose_kd: the export leaves that where it must."""
    cfg = Config.fromfile(student / 'student.py', import_custom_modules=False)
    return 'mmpose_kd' in (cfg.get('custom_imports') or {}).get('imports', [])


if __name__ == '__main__':
    folders = [Path(folder) for folder in sys.argv[2:]]
    if not any(map(needs_package, folders)):
        sys.modules['mmpose_kd'] = None  # an import of it fails from here on
    sys.path.append(os.getcwd())  # where a config's own modules (custom_imports) may lie
    measured = measure(folders)
    Path(sys.argv[1]).write_text(json.dumps(measured), encoding='utf-8')
