"""What a model in training can show of itself for a batch: one protocol, and who answers it.

A head, a model or a hook of a method has a method ``panels(view)`` that returns a list of
:class:`Panel`. Nothing else knows what there is to be seen: :func:`panels_of` asks every part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Optional, Protocol, Union

import numpy as np
import torch
from mmengine.model import BaseModel
from mmpose.structures import PoseDataSample
from torch import Tensor, nn

from .deployed import deployed_head
from .head_output import head_kind, input_place, positions, read_output
from .random_state import random_states_kept


@dataclass(frozen=True)
class Panel:
    """One picture of every sample of a batch. What is None is not drawn.

    Attributes:
        title: ``'branch 1'``.
        maps: Heatmaps (B, K, H, W), drawn over the sample's picture.
        places: Keypoints (B, K, 2), x and y in shares of the picture's width and height.
        shown: Which keypoints of a sample are drawn (B, K); None: all.
        windows: Rectangles (B, K, 4): left, top, right, bottom in the same shares.
        table: Numbers (B, R, K), a row of keypoints for each of ``rows``.
        rows: Names of the table's R rows.
        note: A line below the picture.
    """

    title: str
    maps: Optional[Tensor] = None
    places: Optional[Tensor] = None
    shown: Optional[Tensor] = None
    windows: Optional[Tensor] = None
    table: Optional[Tensor] = None
    rows: Sequence[str] = ()
    note: str = ''


class Showing(Protocol):
    """A part of a run that has something to show."""

    def panels(self, view: View) -> list[Panel]:
        """Its panels for a batch. It runs without gradient, in evaluation mode."""


@dataclass
class View:
    """A batch as the parts of a model are shown it.

    Attributes:
        model: The model in training, without a wrapper.
        inputs: Pictures (B, 3, h, w), normalised by the model's data preprocessor.
        samples: Their data samples.
    """

    model: BaseModel
    inputs: Tensor
    samples: list[PoseDataSample]

    @property
    def predictor(self) -> BaseModel:
        """The model that predicts: in a distiller the student."""
        return getattr(self.model, 'student', self.model)

    @cached_property
    def feats(self):
        """What the predicting model's head gets."""
        return self.predictor.extract_feat(self.inputs)


def panel_of(title: str, head: nn.Module, returned, note: str = '') -> Panel:
    """The panel of what a head's ``forward`` returned.

    Bins of x and y (SimCC) are shown as maps, the products of their probabilities. A head that
    is not known gets a panel that says so.

    Args:
        title: The panel's.
        head: A stock head, or a part that is deployed.
        returned: As it came.
        note: The panel's.
    """
    kind = head_kind(head)
    if kind is None:
        return Panel(title, note=f'what {type(head).__name__} puts out is not known')
    output = [x.detach().float() for x in read_output(kind, returned)]
    places = positions(kind, output)
    if kind == 'heatmap':
        # the middle of a cell, as shares count from the picture's border
        cells = places.new_tensor(output[0].shape[:1:-1])
        return Panel(title, maps=output[0], places=places + 0.5 / cells, note=note)
    if kind == 'bins':
        return Panel(title, maps=_bin_maps(*output), places=places, note=note)
    return Panel(title, places=places, note=note)


def heatmap_panel(title: str, maps: Tensor, note: str = '') -> Panel:
    """The panel of heatmaps (B, K, H, W)."""
    maps = maps.detach().float()
    cells = maps.new_tensor(maps.shape[:1:-1])
    places = positions('heatmap', [maps]) + 0.5 / cells
    return Panel(title, maps=maps, places=places, note=note)


def _bin_maps(x: Tensor, y: Tensor, most: int = 64) -> Tensor:
    """Maps (B, K, H, W) of logits of bins (B, K, bins), at most ``most`` cells an axis."""
    probabilities = []
    for axis in (x, y):
        # a distribution that is all but flat looks so: it is not stretched to its largest value
        step = max(1, axis.shape[-1] // most)
        cut = axis[..., : axis.shape[-1] // step * step]
        scaled = cut / cut.std(-1, keepdim=True).clamp(min=1e-6)
        probabilities.append(scaled.softmax(-1).unflatten(-1, (-1, step)).sum(-1))
    return probabilities[1][..., :, None] * probabilities[0][..., None, :]


def labels_panel(samples: Sequence[PoseDataSample]) -> Optional[Panel]:
    """The ground truth, of samples that are annotated: keypoints as they lie in the crop."""
    places, shown = [], []
    for sample in samples:
        instances = sample.gt_instances
        if 'keypoints' not in instances:
            return None
        centre, scale = input_place(sample)
        keypoints = np.asarray(instances.keypoints, dtype=np.float64)[0, :, :2]
        places.append((keypoints - centre) / scale + 0.5)
        visible = np.asarray(instances.keypoints_visible)
        shown.append((visible[0] if visible.ndim == 2 else visible[0, :, 0]) > 0)
    return Panel(
        'ground truth',
        places=torch.from_numpy(np.stack(places)).float(),
        shown=torch.from_numpy(np.stack(shown)),
    )


def panels_of(
    model: BaseModel, inputs: Tensor, samples: list[PoseDataSample], others: Sequence = ()
) -> list[Panel]:
    """All that a model can show for a batch, without a trace in it.

    Args:
        model: The model in training, without a wrapper.
        inputs: Pictures (B, 3, h, w), normalised.
        samples: Their data samples.
        others: Further parts that may have something to show: the run's hooks.
    """
    with undisturbed(model):
        view = View(model, inputs, samples)
        labels = labels_panel(samples)
        found = [] if labels is None else [labels]
        head = model.get_submodule(deployed_head(model))
        returned = view.predictor(inputs, None, mode='tensor')
        found.append(panel_of('student', head, returned))
        for part in [*model.modules(), *others]:
            if hasattr(part, 'panels'):
                found += part.panels(view)
        return found


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """A model in evaluation mode and without gradient; afterwards it is as it was.

    Modules' modes come back one by one (frozen stages stay frozen), random numbers go on where
    they were, those of GPUs too; gradients, weights and running statistics are not touched.
    """
    modes = [(module, module.training) for module in model.modules()]
    parameter = next(model.parameters(), None)
    cuda = parameter is not None and parameter.is_cuda
    state = torch.cuda.get_rng_state(parameter.device) if cuda else None
    try:
        with random_states_kept(), torch.no_grad():
            model.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training
        if cuda:
            torch.cuda.set_rng_state(state, parameter.device)


def picture(inputs: Tensor, preprocessor: Union[nn.Module, None]) -> np.ndarray:
    """Normalised pictures (B, 3, h, w) as RGB (B, h, w, 3) in 0 to 255."""
    pixels = inputs.detach().float().cpu()
    if getattr(preprocessor, '_enable_normalize', False):
        mean, std = preprocessor.mean.cpu(), preprocessor.std.cpu()
        pixels = pixels * std + mean
    if not getattr(preprocessor, '_channel_conversion', False):
        pixels = pixels.flip(1)  # as OpenCV read them
    pixels = pixels.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return np.repeat(pixels, 3, -1) if pixels.shape[-1] == 1 else pixels
