"""The numbers behind OKDHPHead, ours and the release's, and checks of what is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

#: Settings that are None in the config take these values.
PRESETS = {
    # ours: see docs/okdhp.md for the measurements behind the numbers
    'default': dict(
        ensemble_weight=1.0,
        # the KL's gradient at the heatmaps ends at about a sixth of the task loss's
        kd_loss=dict(type='HeatmapKLLoss', temperature=0.1, loss_weight=140.0),
        kd_schedule=dict(type='ramp_up', epochs=0.6),
        detach_ensemble=True,
    ),
    # the release's 4-stack MPII run; its heatmap loss is head.loss = JointsMSELoss
    'released': dict(
        ensemble_weight=1.0,
        kd_loss=dict(type='HeatmapKLLoss', divisor='positions', weigh_maps=True, loss_weight=2.0),
        kd_schedule=dict(type='ramp_up', epochs=90),
        detach_ensemble=False,
    ),
}


def check_count(num_branches: int, branches: Optional[Sequence[dict]]) -> None:
    """Refuse a number of branches that is none, or that their settings do not fit."""
    if isinstance(num_branches, bool) or not isinstance(num_branches, int) or num_branches < 1:
        raise ValueError(f'head.num_branches={num_branches!r}: give a whole number, 1 or more')
    if branches is not None and len(branches) != num_branches:
        raise ValueError(
            f'head.branches has {len(branches)} entries, head.num_branches={num_branches}: '
            'give one entry per branch'
        )


def with_defaults(cfg: dict, defaults: dict) -> dict:
    """A config with what it leaves open taken from the preset, if it is of the same type."""
    same_type = cfg.get('type', defaults['type']) == defaults['type']
    return {**defaults, **cfg} if same_type else dict(cfg)
