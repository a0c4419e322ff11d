"""From the images that one data preprocessor made to those that another would make."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor, nn


def same_input(a: nn.Module, b: nn.Module) -> bool:
    """Whether two data preprocessors make the same image of the same pixels."""
    if bool(getattr(a, '_channel_conversion', False)) != bool(
        getattr(b, '_channel_conversion', False)
    ):
        return False
    first, second = _mean_std(a), _mean_std(b)
    if first is None or second is None:
        return first is second
    return all(torch.equal(x.cpu(), y.cpu()) for x, y in zip(first, second))


def _mean_std(preprocessor: nn.Module) -> Optional[tuple[Tensor, Tensor]]:
    if not getattr(preprocessor, '_enable_normalize', False):
        return None
    return preprocessor.mean, preprocessor.std


def pixels(inputs: Tensor, preprocessor: nn.Module) -> Tensor:
    """Undo a data preprocessor: pixels in the order that the pipeline read them."""
    statistics = _mean_std(preprocessor)
    if statistics is not None:
        mean, std = (s.to(inputs) for s in statistics)
        inputs = inputs * std + mean
    return inputs.flip(1) if getattr(preprocessor, '_channel_conversion', False) else inputs


def normalise(raw: Tensor, preprocessor: nn.Module) -> Tensor:
    """Do to pixels what a data preprocessor does."""
    if getattr(preprocessor, '_channel_conversion', False):
        raw = raw.flip(1)
    statistics = _mean_std(preprocessor)
    if statistics is None:
        return raw
    mean, std = (s.to(raw) for s in statistics)
    return (raw - mean) / std
