"""Integral regression whose coordinates are not drawn to the map's middle."""

from __future__ import annotations

import torch
from mmpose.models.heads import IntegralRegressionHead
from mmpose.registry import KEYPOINT_CODECS, MODELS
from torch import Tensor

from ..core.checks import (
    LARGEST,
    built_by,
    checked_bool,
    checked_dict,
    checked_factor,
    checked_init,
    checked_size,
    checked_whole,
    checked_wholes,
    refusal,
)
from ..core.loss import upcast
from .centre import FLAT, background

# excess from which the bias is removed entirely; up to FLAT the plain soft-argmax stays, and
# between them the two are blended
BUMP = 4e-3

#: settings that are lists, one entry a layer, with the least and largest that the stock head takes
PER_LAYER = {
    'deconv_out_channels': (1, LARGEST),
    'deconv_kernel_sizes': (2, 4),
    'conv_out_channels': (1, LARGEST),
    'conv_kernel_sizes': (1, 99),
}

MAX_GAIN = 10.0  # how much longer than the plain soft-argmax's a gradient may get


def excess_over_background(logits: Tensor) -> Tensor:
    r"""The mean over positions of exp(z - b) - 1, (B, K), b the background level of the logits.

    That is :math:`\bar C - 1`: the bump's mass over the background's. The level is the median of
    a sparse grid of positions. Its gradient is spread evenly over all positions, as if it were
    the mean: that of a median would fall on one position, and without it a shift of the whole
    map, which changes no coordinate, would get a gradient and drift.

    Args:
        logits: z (B, K, H, W), any range; exp is taken up to 30 above the background.
    """
    mean = logits.mean((2, 3))
    level = background(logits).detach() + (mean - mean.detach())
    return (logits - level[..., None, None]).clamp(max=30.0).expm1().mean((2, 3))


def remove_bias(expectation: Tensor, excess: Tensor, low: Tensor, high: Tensor) -> Tensor:
    r"""The place of the bump whose soft-argmax is the expectation E, in the same coordinates.

    .. math:: p = \frac{\bar C}{\bar C - 1} \left(E - \frac{\mu}{\bar C}\right)
                = E + \frac{E - \mu}{\bar C - 1}

    with :math:`\mu` the middle of the map; see :func:`~mmpose_kd.hhd.centre.unbiased_centre`.
    Our own choices keep it usable from the first iteration on, where the map is flat,
    :math:`\bar C` is 1 and both p and its gradient are without bound:

    - E stays as it is for an excess below 1e-3, p comes in smoothly up to 4e-3;
    - a p outside the map, which no map without holes has, goes back on the line to E up to
      the border;
    - the gradient keeps its direction, and its length is cut to ten times that of E where
      :math:`\bar C - 1` is below 1 / 9.

    Args:
        expectation: E (..., 2).
        excess: :math:`\bar C - 1` (...).
        low, high: The first and last position (2,).

    Returns:
        p (..., 2).
    """
    excess = excess[..., None]
    share = ((excess - FLAT) / (BUMP - FLAT)).clamp(0, 1)
    share = share * share * (3 - 2 * share)
    middle = (low + high) / 2
    step = share * (expectation - middle) / excess.clamp(min=FLAT)

    with torch.no_grad():
        room = torch.where(step > 0, high - expectation, expectation - low)
        fits = (room / step.abs().clamp(min=1e-9)).amin(-1, keepdim=True).clamp(0, 1)
        gain = 1 + share / excess.clamp(min=FLAT)
        keep = (MAX_GAIN / gain).clamp(max=1)
    position = expectation + fits * step
    return position.detach() + keep * (position - position.detach())


@MODELS.register_module()
class UnbiasedIntegralHead(IntegralRegressionHead):
    """MMPose's ``IntegralRegressionHead`` with the bias of the soft-argmax removed.

    The closed form is that of Du et al., "Heterogeneous heatmap distillation framework based on
    unbiased alignment for lightweight human pose estimation", Image and Vision Computing, 2024
    (https://doi.org/10.1016/j.imavis.2024.105041), reconstructed from the abstract, as the full
    text was not at hand; see :func:`remove_bias` for it and for where we deviate. The same holds
    in training and at test, and is differentiable. Parameters and their names are the stock
    head's, so that checkpoints load in both.

    The stock head's ``debias=True`` does not remove the bias: it takes the sum over positions of
    exp(s) for its mean, without beta, so that the correction is 1 / (H W) of what it should be.

    An exported student keeps this head, so it needs mmpose_kd to be installed.

    Args:
        in_channels (int): C of the feature map.
        in_featuremap_size (tuple[int, int]): Its width and height.
        num_joints (int): K.
        debias (bool): False: the stock head's own attempt must stay off.
        beta (float): The logits of the softmax are beta times the maps. Above 0.
        layers: ``deconv_out_channels``, ``deconv_kernel_sizes``, ``conv_out_channels``,
            ``conv_kernel_sizes``, ``final_layer``, ``loss``, ``decoder`` and ``init_cfg`` as in
            ``IntegralRegressionHead``.

    Raises:
        ValueError: ``debias=True``, or a setting out of its range.
    """

    kept_in_student = True  # MMPose has no such head: an exported student needs this class
    output_kind = 'coordinates'  # what its forward returns: see head_kind
    decode_is_unbiased = True  # what a loss has to know that aligns maps to coordinates

    def __init__(
        self,
        in_channels: int,
        in_featuremap_size: tuple[int, int],
        num_joints: int,
        debias: bool = False,
        beta: float = 1.0,
        **layers,
    ):
        name = 'UnbiasedIntegralHead'
        if checked_bool(debias, f'{name}.debias'):
            raise refusal(f'{name}.debias', debias, 'leave it out, this head removes the bias')
        _check_layers(layers, name)
        super().__init__(
            checked_whole(in_channels, f'{name}.in_channels', 1, LARGEST),
            checked_size(in_featuremap_size, f'{name}.in_featuremap_size'),
            checked_whole(num_joints, f'{name}.num_joints', 1, LARGEST),
            beta=checked_factor(beta, f'{name}.beta'),
            **layers,
        )

    def forward_maps(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Implicit heatmaps (B, K, H, W) before beta and softmax, any range."""
        if self.simplebaseline_head is not None:
            return self.simplebaseline_head(feats)
        return feats[-1] if self.final_layer is None else self.final_layer(feats[-1])

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Coordinates and heatmaps.

        Args:
            feats: Feature maps of several scales; the last one is used.

        Returns:
            Coordinates (B, K, 2), x / W and y / H, in [0, (W - 1) / W] and [0, (H - 1) / H]; and
            heatmaps (B, K, H, W) that sum to 1. Both in float32 at least.
        """
        maps = self.forward_maps(feats)
        logits = self.beta * upcast(maps)
        heatmaps = self._flat_softmax(logits)
        axes = [axis.flatten().to(logits.dtype) for axis in (self.linspace_x, self.linspace_y)]
        # about the middle, so that a sum of 1 + 4e-6, as float32 rounds it, does no harm
        expectation = torch.stack(
            [
                axis.mean() + (heatmaps.sum(dim) * (axis - axis.mean())).sum(-1)
                for dim, axis in zip((2, 3), axes)
            ],
            dim=-1,
        )
        low = torch.stack([axis[0] for axis in axes])
        high = torch.stack([axis[-1] for axis in axes])
        return remove_bias(expectation, excess_over_background(logits), low, high), heatmaps


def _check_layers(layers: dict, name: str) -> None:
    """Refuse what the stock head would stumble over, or take for something else."""
    for key, (least, most) in PER_LAYER.items():
        checked_wholes(layers.get(key), f'{name}.{key}', least, most, optional=True)
    for kind in ('deconv', 'conv'):
        channels, name_of_sizes = layers.get(f'{kind}_out_channels'), f'{kind}_kernel_sizes'
        sizes = layers.get(name_of_sizes, (4, 4, 4) if kind == 'deconv' else None)
        if channels and len(sizes or ()) != len(channels):
            give = f'give one for each of {kind}_out_channels={channels!r}'
            raise refusal(f'{name}.{name_of_sizes}', sizes, give)
    layer = dict(type='Conv2d', in_channels=1, out_channels=1, kernel_size=1)
    with torch.random.fork_rng(devices=[]):
        for key, registry, stock in (
            ('loss', MODELS, {}),
            ('decoder', KEYPOINT_CODECS, {}),
            ('final_layer', MODELS, layer),
        ):
            given = checked_dict(
                layers.get(key), f'{name}.{key}', optional=key != 'loss' or key not in layers
            )
            if given is not None:
                built_by(registry, {**stock, **given}, f'{name}.{key}')
    checked_init(layers.get('init_cfg'), f'{name}.init_cfg')
