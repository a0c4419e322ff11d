"""Training for another number of epochs, with everything that counts them in proportion."""

from __future__ import annotations

from mmengine.config import Config

from ..core.recipe import type_name
from .configs import SettingError

#: schedulers that may count iterations: they last as long however long the training is
WARM_UPS = ('Constant', 'Linear', 'QuadraticWarmup')

#: by the scheduler's name without its ending (LR, Momentum, ParamScheduler): what else than
#: ``begin`` and ``end`` counts epochs
SCHEDULERS = {
    'Constant': (),
    'Linear': (),
    'Poly': (),
    'QuadraticWarmup': (),
    'CosineAnnealing': ('T_max',),
    'Step': ('step_size',),
    'MultiStep': ('milestones',),
    'OneCycle': ('total_steps',),
    'CosineRestart': ('periods',),
}


def stretch(cfg: Config, epochs: int) -> None:
    """Train for so many epochs, with everything that counts epochs moved in proportion.

    Warm-ups that count iterations stay as they are.

    Raises:
        SettingError: A scheduler cannot be stretched.
    """
    old = cfg.train_cfg.max_epochs
    cfg.train_cfg.max_epochs = epochs
    if epochs == old:
        return

    def scaled(value):
        if isinstance(value, (list, tuple)):
            return [scaled(v) for v in value]
        return max(round(value * epochs / old), 0 if value == 0 else 1)

    schedulers = cfg.get('param_scheduler') or []
    for i, one in enumerate(schedulers if isinstance(schedulers, list) else [schedulers]):
        key = f'param_scheduler.{i}' if isinstance(schedulers, list) else 'param_scheduler'
        kind = name = type_name(one)
        if not name:
            raise SettingError(f'{key}: cannot be stretched from {old} to {epochs} epochs: {one}')
        for ending in ('LR', 'Momentum', 'ParamScheduler'):
            kind = kind.removesuffix(ending)
        if not one.get('by_epoch', True):
            if kind in WARM_UPS:
                continue
            raise SettingError(
                f'{key}.by_epoch=False: a {name} that counts iterations cannot be '
                f'stretched from {old} to {epochs} epochs: let it count epochs (by_epoch=True, '
                'and convert_to_iter_based=True to change at each iteration), or give a config '
                f'with train_cfg.max_epochs={epochs} (and --no-equal-wall-time)'
            )
        if kind not in SCHEDULERS:
            raise SettingError(
                f'{key}.type={name!r} cannot be stretched from {old} to {epochs} epochs: '
                f'give one of {", ".join(f"{k}LR" for k in SCHEDULERS)}, or a config with '
                f'train_cfg.max_epochs={epochs} (and --no-equal-wall-time)'
            )
        whole_span = one.get('T_max') == one.get('end', old) - one.get('begin', 0)
        for field in ('begin', 'end', *SCHEDULERS[kind]):
            if field in one:
                one[field] = scaled(one[field])
        if 'end' in one:
            one['end'] = max(one['end'], one.get('begin', 0) + 1)
        if 'T_max' in one and whole_span:
            one['T_max'] = one.get('end', epochs) - one.get('begin', 0)
    for hook in cfg.get('custom_hooks') or []:
        if 'switch_epoch' in hook:
            hook['switch_epoch'] = scaled(hook['switch_epoch'])
