"""A small model and a batch of every method that is a model; mixed precision on a CPU."""

from __future__ import annotations

import contextlib

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmpose.registry import OPTIM_WRAPPERS

from .distillers import distiller_config, untrained
from .models import HRNET, RESNET, okdhp_config, plain_config, samples
from .ocd import batch_of, codec_of, ocd_of, plain_of
from .tcd import TASK, cross, tcd_of


def _features(loss: str) -> dict:
    adapter = dict(type='Conv2d', in_channels=64, out_channels=4, kernel_size=1)
    entry = dict(
        loss=dict(type=loss), student='backbone', teacher='backbone', adapter=adapter,
        resize='areas',
    )  # fmt: skip
    return distiller_config(teachers=[untrained(plain_config(HRNET))]) | dict(distill=[entry])


METHODS = {
    'OKDHP': okdhp_config(HRNET, 'stage3'),
    'HHD': distiller_config(
        dict(loss=dict(type='HHDLoss'), student='head.simplebaseline_head.final_layer'),
        student=plain_of('integral'),
    ),
    'OCD, coordinates': ocd_of('regression'),
    'OCD, RLE': ocd_of('rle'),
    'OCD, bins': ocd_of('rtmcc'),
    'TCD': tcd_of({**TASK, 'balance': True}, cross('regression')),
    "DWPose's feature loss": _features('FeatureMSELoss'),
    'PKD': _features('PearsonFeatureLoss'),
}
#: of the student's head, where it puts out no heatmaps
KINDS = {
    'OCD, coordinates': 'regression',
    'OCD, RLE': 'rle',
    'OCD, bins': 'rtmcc',
    'TCD': 'regression',
}
#: the factor of a loss depends on the whole batch, of all processes
BALANCED = ('OCD, coordinates', 'OCD, RLE', 'OCD, bins', 'TCD')

PLAIN = {'HeatmapHead': plain_config(RESNET), 'RTMCCHead': plain_of('rtmcc')}


def batch_for(method: str, batch: int = 2, seed: int = 0) -> list:
    """Data samples with the targets that a method needs."""
    if method == 'HHD':
        return batch_of(plain_of('integral')['head']['decoder'], batch, seed)
    if method in KINDS:
        return batch_of(codec_of(KINDS[method]), batch, seed)
    return samples(batch, seed)


@OPTIM_WRAPPERS.register_module(force=True)
class AmpOnCpu(AmpOptimWrapper):
    """``AmpOptimWrapper``, which refuses a machine without GPU, with torch's scaler for a CPU."""

    def __init__(self, dtype: str = 'bfloat16', **settings):
        OptimWrapper.__init__(self, **settings)
        self._scale_update_param = None
        self.cast_dtype = getattr(torch, dtype)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=2.0**16)

    @contextlib.contextmanager
    def optim_context(self, model):
        """As on a GPU, where float16 is known as well."""
        with OptimWrapper.optim_context(self, model), torch.autocast('cpu', self.cast_dtype):
            yield
