"""Stock heads that predict coordinates or bins, as a training-only part around them needs them."""

from __future__ import annotations

from typing import Union

from mmpose.codecs import IntegralRegressionLabel, RegressionLabel, SimCCLabel
from mmpose.models.heads import (
    IntegralRegressionHead,
    RegressionHead,
    RLEHead,
    RTMCCHead,
    SimCCHead,
)
from torch import Tensor, nn

from ...codecs import CrossRepresentationLabel

COORDINATES = (RegressionHead, RLEHead, IntegralRegressionHead)  # DSNTHead is one of the last
BINS = (SimCCHead, RTMCCHead)


def kind_of(head: nn.Module, key: str) -> str:
    """``'coordinates'`` or ``'bins'``: what a head puts out.

    Args:
        head: A stock head.
        key: Name of its config key, for messages.

    Raises:
        ValueError: Neither, or its ``decoder`` is missing or not its own.
    """
    if not isinstance(head, COORDINATES + BINS):
        raise ValueError(
            f'{key}.type={type(head).__name__}: give RegressionHead, RLEHead, '
            'IntegralRegressionHead, DSNTHead, SimCCHead or RTMCCHead'
        )
    kind = 'bins' if isinstance(head, BINS) else 'coordinates'
    decoder = head.decoder
    if isinstance(decoder, CrossRepresentationLabel):
        raise ValueError(
            f'{key}.decoder is the codec of both heads: give the stock one in it, codec.deploy'
        )
    fitting = (SimCCLabel,) if kind == 'bins' else (RegressionLabel, IntegralRegressionLabel)
    if not isinstance(decoder, fitting):
        wanted = ' or '.join(codec.__name__ for codec in fitting)
        raise ValueError(f'{key}.decoder is a {type(decoder).__name__}: give {wanted}')
    return kind


def num_keypoints(head: nn.Module) -> int:
    """K of a stock head."""
    return head.num_joints if hasattr(head, 'num_joints') else head.out_channels


def prediction(output, kind: str) -> Union[Tensor, tuple[Tensor, Tensor]]:
    """Coordinates (B, K, 2 or 4), or logits x and y (B, K, bins), of what a head's forward gives.

    Integral heads give their maps as well, which are left out.
    """
    return output if kind == 'bins' or isinstance(output, Tensor) else output[0]
