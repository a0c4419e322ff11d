"""What a stock head predicts that heatmaps can teach: coordinates, or bins along each axis."""

from __future__ import annotations

from mmpose.codecs import IntegralRegressionLabel, RegressionLabel, SimCCLabel
from torch import nn

from ..core.checks import refusal
from ..core.head_output import head_kind, names_of
from .codec import CrossRepresentationLabel

#: the representations, with the codecs of their heads
CODECS = dict(coordinates=(RegressionLabel, IntegralRegressionLabel), bins=(SimCCLabel,))


def representation_of(head: nn.Module, key: str) -> str:
    """Whether a head that is to be deployed predicts ``'coordinates'`` or ``'bins'``.

    Args:
        head: A stock head: see :func:`head_kind`.
        key: Name of its config key, for messages.

    Raises:
        ValueError: It predicts neither, or its ``decoder`` is missing or not its own.
    """
    kind = head_kind(head)
    if kind not in CODECS:
        raise refusal(f'{key}.type', type(head).__name__, f'give one of {names_of(*CODECS)}')
    if isinstance(head.decoder, CrossRepresentationLabel):
        raise ValueError(
            f'{key}.decoder is the codec of both heads: give the stock one in it, codec.deploy'
        )
    if not isinstance(head.decoder, CODECS[kind]):
        wanted = ' or '.join(codec.__name__ for codec in CODECS[kind])
        raise ValueError(f'{key}.decoder is a {type(head.decoder).__name__}: give {wanted}')
    return kind
