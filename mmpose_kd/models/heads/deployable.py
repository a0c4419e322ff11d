"""Stock heads that predict coordinates or bins, as a training-only part around them needs them."""

from __future__ import annotations

from mmpose.codecs import IntegralRegressionLabel, RegressionLabel, SimCCLabel
from torch import nn

from ...codecs import CrossRepresentationLabel
from .head_output import head_kind, names_of

CODECS = {
    'bins': (SimCCLabel,),
    'coordinates': (RegressionLabel, IntegralRegressionLabel),
}


def deployable_kind(head: nn.Module, key: str) -> str:
    """``'coordinates'`` or ``'bins'``: see :func:`head_kind`.

    Args:
        head: A stock head.
        key: Name of its config key, for messages.

    Raises:
        ValueError: Neither, or its ``decoder`` is missing or not its own.
    """
    kind = head_kind(head)
    if kind not in CODECS:
        raise ValueError(f'{key}.type={type(head).__name__}: give one of {names_of(*CODECS)}')
    decoder = head.decoder
    if isinstance(decoder, CrossRepresentationLabel):
        raise ValueError(
            f'{key}.decoder is the codec of both heads: give the stock one in it, codec.deploy'
        )
    if not isinstance(decoder, CODECS[kind]):
        wanted = ' or '.join(codec.__name__ for codec in CODECS[kind])
        raise ValueError(f'{key}.decoder is a {type(decoder).__name__}: give {wanted}')
    return kind
