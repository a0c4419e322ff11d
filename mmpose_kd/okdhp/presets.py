"""The numbers behind OKDHPHead, ours and the release's."""

from __future__ import annotations

from typing import NamedTuple, Optional

from ..core.checks import checked_bool, checked_choice, checked_dict, checked_weight
from ..core.recipe import type_name
from ..core.schedule import Schedule

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


class LossSettings(NamedTuple):
    """How OKDHP weighs its losses, nothing left open.

    Attributes:
        ensemble_weight: Factor of the ensemble's task loss.
        kd_loss: Config of the distillation loss.
        kd_weight: That loss's own factor.
        kd_schedule: The factor that it is multiplied by, over the epochs.
        detach_ensemble: Whether the ensemble is a constant in the distillation loss.
    """

    ensemble_weight: float
    kd_loss: dict
    kd_weight: float
    kd_schedule: Schedule
    detach_ensemble: bool


def loss_settings(
    preset: str,
    ensemble_weight: Optional[float],
    kd_loss: Optional[dict],
    kd_schedule: Optional[dict],
    detach_ensemble: Optional[bool],
) -> LossSettings:
    """What the config gives, and for the rest (None, or keys left out) what the preset has.

    Args:
        preset: A name in :data:`PRESETS`.
        ensemble_weight, kd_loss, kd_schedule, detach_ensemble: See :class:`OKDHPHead`.

    Raises:
        ValueError: A setting out of its range.
    """
    defaults = PRESETS[checked_choice(preset, 'head.preset', PRESETS)]
    given = {'ensemble_weight': ensemble_weight, 'detach_ensemble': detach_ensemble}
    chosen = {**defaults, **{key: value for key, value in given.items() if value is not None}}
    kd_loss = checked_dict(kd_loss, 'head.kd_loss', optional=True)
    kd_loss = with_defaults(kd_loss or {}, defaults['kd_loss'])
    kd_weight = checked_weight(kd_loss.get('loss_weight', 1.0), 'head.kd_loss.loss_weight')
    kd_schedule = checked_dict(kd_schedule, 'head.kd_schedule', optional=True)
    kd_schedule = with_defaults(kd_schedule or {}, defaults['kd_schedule'])
    return LossSettings(
        checked_weight(chosen['ensemble_weight'], 'head.ensemble_weight'),
        kd_loss,
        kd_weight,
        Schedule.build(kd_schedule, 'head.kd_schedule'),
        checked_bool(chosen['detach_ensemble'], 'head.detach_ensemble'),
    )


def with_defaults(cfg: dict, defaults: dict) -> dict:
    """A config with what it leaves open taken from the preset, if it is of the same type."""
    same_type = type_name(cfg) in ('', type_name(defaults))
    return {**defaults, **cfg} if same_type else dict(cfg)
