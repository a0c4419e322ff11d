"""The config of the exported student, made from that of the run."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Optional

from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmpose.codecs.base import BaseKeypointCodec

from ..core.config_file import SETTINGS
from ..core.facts import preprocessor_differences, stated_preprocessor
from .own_types import PACKAGE, StudentWarning, own_class, own_parts

#: settings of hooks that name a metric
METRICS = ('save_best', 'monitor')
SHOWN = 5


class ExportError(ValueError):
    """The student cannot be exported; nothing was written."""


def plain_config(cfg: Config, model: dict, outputs: Sequence[str] = ()) -> Config:
    """The run's config with the plain model, without what else of this package is in it.

    Args:
        cfg: The config of a training run.
        model: The plain model's config. A class of this package that stays in students
            (``kept_in_student``) keeps the import of the package in the config.
        outputs: Names of the outputs whose metrics the run reported (``'ensemble'``): a hook
            that follows one of them follows the model's own metric in the student's config.

    Warns:
        StudentWarning: There is such a class.

    Raises:
        ExportError: Something else of this package would remain.
    """
    plain = _written({**cfg.to_dict(), 'model': Config(dict(model=model)).to_dict()['model']})
    imports = plain.pop('custom_imports', None) or {}
    modules = imports.get('imports', [])
    modules = [modules] if isinstance(modules, str) else modules
    needed = [name for name in modules if name.partition('.')[0] != PACKAGE]
    kept = own_parts(model, kept=True)
    if kept:
        needed.append(PACKAGE)
        warnings.warn(
            f'the student keeps {", ".join(kept)} and so needs {PACKAGE} installed',
            StudentWarning,
            stacklevel=3,
        )
    if needed:
        plain['custom_imports'] = {**imports, 'imports': needed}
    plain['custom_hooks'] = [
        hook for hook in plain.get('custom_hooks') or [] if own_class(hook.get('type')) is None
    ]
    plain = _without_own_steps(plain)
    hooks = [*(plain.get('default_hooks') or {}).values(), *plain['custom_hooks']]
    for hook in hooks:
        for name in METRICS:
            if isinstance(hook, dict) and hook.get(name):
                given, rules = hook[name], hook.get('rule')
                hook[name] = _stock_metric(given, outputs)
                if isinstance(rules, (list, tuple)) and len(hook[name]) < len(given):
                    names = [_stock_metric(one, outputs) for one in given]
                    hook['rule'] = list(dict(zip(names, rules)).values())
    for key in [k for k in plain if k in ('work_dir', 'launcher') or _is_help(plain, k)]:
        del plain[key]  # of the run, or a help variable of the config; not of the model
    plain.update(load_from=None, resume=False)
    left = own_parts(plain, kept=False)
    if left:
        raise ExportError(
            f'the student would still need {PACKAGE}: {", ".join(left)}; nothing was written'
        )
    return Config(plain)


def _is_help(cfg: dict, key: str) -> bool:
    """Whether a name is a variable of the config that the student has no use for."""
    if key.startswith('_'):
        return True
    return key not in SETTINGS and bool(own_parts({key: cfg[key]}, kept=False))


def _written(node):
    """Classes, as a pure Python config has them, as the paths that a text config has."""
    if isinstance(node, dict):
        return {key: _written(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(_written(value) for value in node)
    return f'{node.__module__}.{node.__qualname__}' if isinstance(node, type) else node


def _stock_metric(metric, outputs: Sequence[str]):
    """The metric that a stock run reports in the place of one of our outputs'."""
    if isinstance(metric, (list, tuple)):  # MMEngine refuses a metric that is there twice
        return list(dict.fromkeys(_stock_metric(one, outputs) for one in metric))
    if not isinstance(metric, str):
        return metric
    names = '|'.join([r'branch\d+', 'ensemble', *map(re.escape, outputs)])
    return re.sub(rf'^({names})/', '', metric)


def _without_own_steps(node):
    """The config with what this package's pipeline steps and codecs say is left of them."""
    if isinstance(node, dict):
        own = own_class(node.get('type'))
        if own is not None and issubclass(own, BaseKeypointCodec):
            return _without_own_steps(own.plain(node))
        return {key: _without_own_steps(value) for key, value in node.items()}
    if not isinstance(node, (list, tuple)):
        return node
    steps = []
    for step in node:
        own = own_class(step.get('type')) if isinstance(step, dict) else None
        if own is not None and issubclass(own, BaseTransform):
            left = own.plain(step)  # a step, nothing, or the steps that ours was around
            left = left if isinstance(left, list) else [left]
            steps.extend(_without_own_steps([x for x in left if x is not None]))
        else:
            steps.append(_without_own_steps(step))
    return type(node)(steps)


# ------------------------------------------------------------- is it the run's own config?


def compare_with_run(cfg: Config, run: dict, config: str) -> None:
    """Compare a config with that of the run that wrote the checkpoint, which the file states.

    Args:
        cfg: The config that was given for the export.
        run: The run's, in plain values (:func:`~mmpose_kd.core.facts.stated_config`); {}: unknown.
        config: Name of the given one, for messages.

    Warns:
        StudentWarning: The models or the validation's pipelines differ in other settings.

    Raises:
        ExportError: The model would see other pictures than in its training.
    """
    if not isinstance(run.get('model'), dict):
        return
    given = cfg.to_dict()
    own = preprocessor_differences(stated_preprocessor(run), stated_preprocessor(given))
    if own:
        raise ExportError(
            f'{config}: model.data_preprocessor is not that of the run, {", ".join(own)}: give '
            'the config that the run wrote into its work directory; nothing was written'
        )
    one, two = ({**_flat('model', _model(c)), **_val_steps(c)} for c in (given, run))
    other = [key for key in sorted({*one, *two}) if one.get(key) != two.get(key)]
    if other:
        more = f' and {len(other) - SHOWN} more' if len(other) > SHOWN else ''
        warnings.warn(
            f'{config} is not the config of the run that wrote the checkpoint, they differ in '
            f'{", ".join(other[:SHOWN])}{more}: the student is made as the given one says',
            StudentWarning,
            stacklevel=3,
        )


def _model(cfg: dict) -> dict:
    """With the preprocessor that stands beside it, as MMEngine's Runner builds it."""
    beside = cfg.get('data_preprocessor')
    return cfg['model'] if beside is None else {'data_preprocessor': beside, **cfg['model']}


def _val_steps(cfg: dict) -> dict[str, str]:
    dataset = (cfg.get('val_dataloader') or {}).get('dataset') or {}
    return _flat('val_dataloader.dataset.pipeline', dataset.get('pipeline'))


def _flat(key: str, node) -> dict[str, Optional[str]]:
    """Settings as texts by key; where weights start from is left out."""
    if isinstance(node, dict):
        items = [(k, v) for k, v in node.items() if k not in ('init_cfg', '_scope_')]
    elif isinstance(node, (list, tuple)) and any(isinstance(v, dict) for v in node):
        items = list(enumerate(node))
    elif isinstance(node, (list, tuple)):
        return {key: str(list(node))}
    elif isinstance(node, str):
        return {key: node.rpartition('.')[2] if key.endswith('.type') else node}
    elif node is None or isinstance(node, (bool, int, float)):
        return {} if node is None else {key: str(node)}
    else:  # a class
        return {key: getattr(node, '__name__', str(node))}
    return {name: text for k, v in items for name, text in _flat(f'{key}.{k}', v).items()}
