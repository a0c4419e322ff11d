"""What of a student an ONNX file holds: its pictures' form, the stock model, its outputs' form."""

from __future__ import annotations

from typing import Optional

import torch
from mmengine.model import BaseModel
from mmpose.models.heads import RLEHead
from torch import Tensor, nn

from ..core.head_output import head_kind, read_output
from .decoding import HeatmapDecoder, decodable
from .same_predictions import picture_channels

#: bins a pixel of the input, as rtmlib's RTMPose reads them
RTMLIB_RATIO = 2

OUTPUTS = ('rtmlib', 'raw')
CHANNELS = ('bgr', 'rgb')

#: what a head puts out, by its kind
RAW_NAMES = {
    'heatmap': ('heatmaps',),
    'bins': ('simcc_x', 'simcc_y'),
    'coordinates': ('keypoints',),
}


class StudentGraph(nn.Module):
    """A student as a function of tensors, without samples, flip test or numpy.

    Args:
        model: The plain model, in evaluation mode.
        size: Width and height of its input.
        channels: The order in which the pictures' channels come, ``'bgr'``, as OpenCV reads
            them, or ``'rgb'``; normalised by the model's numbers in their written order, as
            rtmlib and MMPose's own ONNX example do. Where the data preprocessor makes the other
            order of what OpenCV reads, they are put right here.
        outputs: ``'raw'``: what the head's ``forward`` returns; ``'rtmlib'``: bins of x and y,
            which rtmlib's ``RTMPose`` reads: those of a SimCC head, or drawn of what MMPose
            would decode of another head's outputs.
        udp: Whether the model is trained on UDP's crops, which rtmlib does not make: its crop
            shows w instead of w - 1 steps from the first pixel to the last.

    Attributes:
        drawn: Whether bins are drawn: they have one value above 0, the score.
        raw_names: Names of the head's own outputs.
        names: Names of the outputs of the file.

    Raises:
        ValueError: What the head puts out is not known, or cannot be decoded here.
    """

    def __init__(
        self, model: BaseModel, size: tuple[int, int], channels: str, outputs: str, udp: bool
    ):
        super().__init__()
        self.model, self.size = model, size
        head = model.head
        self.kind = head_kind(head)
        if self.kind is None:
            raise ValueError(
                f'it is not known what model.head.type={type(head).__name__} puts out; let it '
                "have an attribute output_kind: 'heatmap', 'bins' or 'coordinates'"
            )
        self.has_sigma = isinstance(head, RLEHead)
        self.raw_names = RAW_NAMES[self.kind] + (('sigma',) if self.has_sigma else ())
        codec = getattr(head, 'decoder', None)
        self.drawn = outputs == 'rtmlib' and not self._bins_as_rtmlib(codec)
        self.decoder = None
        if self.drawn and self.kind == 'heatmap':
            why = decodable(codec)
            if why:
                raise ValueError(f'{why}, so it cannot be brought into the form that rtmlib reads')
            self.decoder = HeatmapDecoder(codec)
        elif self.drawn and self.kind == 'bins' and codec.use_dark:
            raise ValueError(
                'model.head.decoder.use_dark=True: bins refined in this way cannot be brought '
                'into the form that rtmlib reads'
            )
        self.names = ('simcc_x', 'simcc_y') if self.drawn else self.raw_names
        shrink = [(n - 1) / n if udp else 1.0 for n in size]
        self.register_buffer('shrink', torch.tensor(shrink), persistent=False)
        self._set_channels(channels)

    def _bins_as_rtmlib(self, codec) -> bool:
        if self.kind != 'bins':
            return False
        return codec.simcc_split_ratio == RTMLIB_RATIO and not codec.use_dark

    def _set_channels(self, channels: str) -> None:
        preprocessor = self.model.data_preprocessor
        converts = bool(getattr(preprocessor, '_channel_conversion', False))
        wanted = 'rgb' if converts else 'bgr'  # of a picture that OpenCV has read
        self.flips = channels != wanted and picture_channels(self.model) == 3
        self.normalised = bool(getattr(preprocessor, '_enable_normalize', False))
        if self.flips and self.normalised:
            mean, std = preprocessor.mean.detach().cpu(), preprocessor.std.detach().cpu()
            scale = std.flip(0) / std
            shift = (mean.flip(0) - mean) / std
            self.register_buffer('scale', scale[None], persistent=False)
            self.register_buffer('shift', shift[None], persistent=False)

    @property
    def statistics(self) -> Optional[tuple[list[float], list[float]]]:
        """Mean and std with which a caller normalises pictures; None: not at all."""
        if not self.normalised:
            return None
        preprocessor = self.model.data_preprocessor
        mean, std = (s.flatten() for s in (preprocessor.mean, preprocessor.std))
        # as they are written: float32 makes 123.675003 of 123.675
        return [round(float(x), 4) for x in mean], [round(float(x), 4) for x in std]

    def raw(self, pictures: Tensor) -> list[Tensor]:
        """The head's own outputs for pictures (B, C, h, w) in the form of the setting."""
        if self.flips:
            pictures = pictures.flip(1)
            if self.normalised:
                pictures = pictures * self.scale + self.shift
        returned = self.model(pictures, None, mode='tensor')
        outputs = read_output(self.kind, returned)
        if self.has_sigma:
            outputs.append(returned[..., 2:4].sigmoid())
        return outputs

    def decode(self, outputs: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Keypoints in pixels of the input (B, K, 2) and scores (B, K), as MMPose's codec."""
        first = outputs[0]
        if self.kind == 'heatmap':
            return self.decoder(first)
        if self.kind == 'bins':
            tops = [axis.max(-1) for axis in outputs]
            ratio = self.model.head.decoder.simcc_split_ratio
            places = torch.stack([top.indices for top in tops], -1).to(first.dtype)
            return places / ratio, torch.minimum(*[top.values for top in tops])
        keypoints = first * first.new_tensor(self.size)
        if self.has_sigma:
            return keypoints, (1 - outputs[1]).mean(-1)
        return keypoints, torch.ones_like(keypoints[..., 0])

    def draw(self, keypoints: Tensor, scores: Tensor) -> list[Tensor]:
        """Bins of x (B, K, 2 w) and of y (B, K, 2 h): the score at the nearest, 0 elsewhere.

        A keypoint beyond the crop is put on its border.
        """
        places = (keypoints * self.shrink * RTMLIB_RATIO).round()
        bins = []
        for axis, length in enumerate(self.size):
            place = places[..., axis].clamp(0, length * RTMLIB_RATIO - 1)
            at = torch.arange(length * RTMLIB_RATIO, device=place.device, dtype=place.dtype)
            bins.append((at == place[..., None]).to(scores.dtype) * scores[..., None])
        return bins

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """The file's outputs, and behind drawn ones the head's own, for the check."""
        raw = self.raw(pictures)
        if not self.drawn:
            return tuple(raw)
        return (*self.draw(*self.decode(raw)), *raw)
