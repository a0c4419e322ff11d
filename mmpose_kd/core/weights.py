"""The weights in a checkpoint, whatever else it is or claims to be."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Union

import torch
from torch import Tensor

from .checkpoints import CheckpointError

SHOWN = 60  # characters of a name in a message


def state_of(saved: dict, where: Union[str, Path]) -> dict[str, Tensor]:
    """The state dict of a checkpoint, of which nothing is computed: only kinds are looked at.

    Args:
        saved: A checkpoint with ``state_dict``, or a state dict itself.
        where: Its file, for messages.

    Raises:
        CheckpointError: It is no dict of real weights by name.
    """
    state = saved.get('state_dict', saved)
    found = wrong_state(state)
    if found is not None:
        inside = 'its state_dict ' if 'state_dict' in saved else 'it '
        raise CheckpointError(f'{where}: {inside}is not one of weights by name: {found}')
    return state


def wrong_state(state) -> Optional[str]:
    """What of a state dict is none, in words; None if it is one."""
    if not isinstance(state, dict):
        return f'found a {type(state).__name__}'
    for name, value in state.items():
        if not isinstance(name, str):
            return f'found the key {_short(repr(name))}, a {type(name).__name__}'
        if name.endswith('_extra_state'):  # of torch's own making, of any kind
            continue
        kind = _wrong_kind(value)
        if kind is not None:
            return f'found {_short(name)}, {kind}'
    return None


def _wrong_kind(value) -> Optional[str]:
    if not isinstance(value, Tensor):
        return f'a {type(value).__name__}'
    if value.layout != torch.strided or value.is_quantized:
        return 'a sparse or quantised tensor'
    if value.is_meta:
        return 'a tensor without values'
    return f'a tensor of {value.dtype}' if value.is_complex() else None


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f'{text[: SHOWN - 3]}...'
