"""In which precision and memory format a frozen model runs."""

from __future__ import annotations

import contextlib
from typing import Optional

import torch
from torch import Tensor, nn

from ..core.checks import checked_bool, checked_choice
from ..core.head_output import head_kind

DTYPES = {
    'auto': None,
    'float32': torch.float32,
    'float16': torch.float16,
    'bfloat16': torch.bfloat16,
}

HALVES = (torch.float16, torch.bfloat16)

AMPERE = (8, 0)  # the first of NVIDIA's GPUs that compute in bfloat16


class FrozenPrecision:
    """What the weights of a frozen model are cast to, and what enters it.

    In half precision its head stays in float32 if it puts out bins or coordinates: a step of
    bfloat16 just below 1 is 1 / 256, a pixel of a picture of that width. Such heads are small. A
    heatmap head runs in half precision too, if no gradient passes it.

    Args:
        dtype: ``'float32'``, ``'float16'`` or ``'bfloat16'``; None: as the student runs, also in
            its mixed precision; ``'auto'``: see :func:`half_of` a GPU, elsewhere as None.
        channels_last: Whether the weights and the images have this memory format. None: on a GPU.
        key: Name of the config key that holds both, for messages.

    Attributes:
        dtype: None as long as it runs as the student does.
        memory_format: Of weights and images.
        taught_through: Set where a student's gradient passes the head. It is then left as the
            student runs, if ``dtype`` is ``'auto'``: in float16 small gradients are 0.

    Raises:
        ValueError: A setting is none of these.
    """

    def __init__(self, dtype: Optional[str], channels_last: Optional[bool], key: str):
        self.auto = checked_choice(dtype, f'{key}.dtype', DTYPES, optional=True) == 'auto'
        self.dtype: Optional[torch.dtype] = None if dtype is None else DTYPES[dtype]
        self.format_by_device = channels_last is None
        last = channels_last is not None and checked_bool(channels_last, f'{key}.channels_last')
        self.memory_format = torch.channels_last if last else torch.preserve_format
        self.taught_through = False

    @property
    def is_half(self) -> bool:
        """Whether weights are cast to fewer bits."""
        return self.dtype in HALVES

    def changes_on(self, device: torch.device) -> bool:
        """Whether a model that comes to this device is to be cast there."""
        if device.type != 'cuda':
            return False
        by_device = self.format_by_device and self.memory_format is not torch.channels_last
        return by_device or (self.auto and self.dtype is None)

    def take(self, device: torch.device) -> None:
        """Decide what is left to the device, a GPU."""
        if self.auto:
            self.dtype = half_of(device)
        if self.format_by_device:
            self.memory_format = torch.channels_last

    def cast(self, model: nn.Module) -> None:
        """Bring a model's weights into this precision and memory format."""
        kind = head_kind(getattr(model, 'head', None))
        for name, child in model.named_children():
            if name != 'data_preprocessor':  # its mean and std are no weights
                child.to(dtype=self._of_part(name, kind), memory_format=self.memory_format)

    def _of_part(self, name: str, kind: Optional[str]) -> Optional[torch.dtype]:
        if self.is_half and kind in ('bins', 'coordinates') and name != 'backbone':
            return torch.float32
        return None if name != 'backbone' and self._leaves_head else self.dtype

    @property
    def _leaves_head(self) -> bool:
        return self.auto and self.taught_through

    def entering(self, images: Tensor) -> Tensor:
        """Images or a feature map as the model takes them."""
        return images.to(dtype=self.dtype, memory_format=self.memory_format)

    def running(self, device: torch.device) -> contextlib.AbstractContextManager:
        """While the model runs: its own precision also inside the student's mixed precision."""
        if self.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(device.type, enabled=False)

    def through_head(self, head: nn.Module, feature: Tensor) -> Tensor:
        """What a heatmap head makes of a student's feature, with gradient, in float32."""
        if self._leaves_head:
            return head((feature.to(memory_format=self.memory_format),)).float()
        with self.running(feature.device):
            return head((self.entering(feature),)).float()


def half_of(device: torch.device) -> torch.dtype:
    """bfloat16, whose range is float32's; float16 on a GPU that computes bfloat16 slowly."""
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= AMPERE else torch.float16


def widen_before_head(model: nn.Module) -> None:
    """Let a head in float32 get the feature of a backbone in half precision in float32.

    A model in float32 is not changed by it.
    """
    head = getattr(model, 'head', None)
    if head is not None and hasattr(model, 'backbone'):

        def widened(module, inputs, output):
            weight = next(head.parameters(), None)
            if weight is None or weight.dtype in HALVES:
                return None
            return _float32(output)

        model.backbone.register_forward_hook(widened)


def _float32(output):
    """The same feature maps, those in half precision in float32."""
    if isinstance(output, Tensor):
        return output.float() if output.dtype in HALVES else output
    if isinstance(output, (list, tuple)):
        return type(output)(_float32(x) for x in output)
    return output


def constant(output: Tensor) -> Tensor:
    """An output as the losses take it: detached, float32, in the usual memory format."""
    return output.detach().to(torch.float32, memory_format=torch.contiguous_format)
