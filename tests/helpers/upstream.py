"""What older torch and MMPose, which are supported, do not have, and a test needs."""

import pytest
import torch
from mmpose.registry import MODELS
from packaging.version import Version

import mmpose_kd  # noqa: F401  (imports MMPose's models)

needs_newer_torch = pytest.mark.skipif(
    Version(torch.__version__) < Version('2.3'),
    reason='older torch has neither all of float16 on the CPU nor a median without values',
)
needs_dwposes_losses = pytest.mark.skipif(
    'FeaLoss' not in MODELS, reason='MMPose 1.1 has no DWPose yet'
)
