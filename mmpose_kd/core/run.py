"""What a model can know of the run that trains it, from MMEngine's message hub.

MMEngine's ``RuntimeInfoHook``, which every Runner has, writes the facts before the first step; so
a model can compare them in its first ``loss`` and needs no hook of its own for it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Optional

from mmengine.logging import MessageHub

from .config_text import literal_config


def run_info(name: str):
    """A fact of the present run (``'max_epochs'``, ``'dataset_meta'``), None if not known."""
    return MessageHub.get_current_instance().runtime_info.get(name)


@lru_cache(maxsize=2)
def _parsed(text: str) -> dict:
    return literal_config(text)


def run_config() -> dict:
    """The run's config in plain values, {} outside a run."""
    text = run_info('cfg')
    return _parsed(text) if isinstance(text, str) else {}


def counts_iterations() -> Optional[bool]:
    """Whether the run's loop counts iterations in the place of epochs; None if not known.

    MMEngine presents such a run as one long epoch, as a run of one epoch is.
    """
    max_epochs = run_info('max_epochs')
    if not max_epochs:
        return None
    if max_epochs > 1:
        return False
    loop = run_config().get('train_cfg')
    return loop_counts_iterations(loop) if isinstance(loop, dict) else None


def loop_counts_iterations(train_cfg: dict) -> bool:
    """The same, by the loop's config."""
    kind = str(train_cfg.get('type', '')).rpartition('.')[2]
    if kind:
        return 'Iter' in kind
    return train_cfg.get('by_epoch', True) is False
