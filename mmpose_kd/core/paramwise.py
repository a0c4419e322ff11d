"""Settings of the optimiser that go by parameter names, compared with the plain model's names."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Optional
from weakref import ref

from mmengine.logging import MessageHub, print_log
from torch import nn

from .deployed import plain_names
from .run import run_config, run_info

KEY = 'optim_wrapper.paramwise_cfg'
LAYER_DECAY = 'LayerDecayOptimWrapperConstructor'

_compared: Optional[tuple] = None  # the run that was looked at last: its hub, its config


def compare_paramwise(part: nn.Module, prefix: str = '') -> None:
    """Refuse a ``paramwise_cfg`` that would treat a parameter otherwise than in the plain model.

    It is looked at once in a run.

    MMEngine takes for each parameter the longest of ``custom_keys`` that is part of its name. A
    key that is part of no name of the plain model is meant for the model in training, and fine.

    Args:
        part: The part that exists in training only. The outermost one is asked first, and with
            it all that is inside.
        prefix: Of its parameters' names in the model (``'head.'``).

    Raises:
        ValueError: It acts on other parameters than in the plain model.
    """
    global _compared
    text = run_info('cfg')
    hub = MessageHub.get_current_instance()
    if text is None or (_compared and _compared[0]() is hub and _compared[1] is text):
        return
    settings = run_config().get('optim_wrapper')
    settings = settings if isinstance(settings, dict) else {}
    paramwise = settings.get('paramwise_cfg')
    if isinstance(paramwise, dict) and paramwise:
        constructor = str(settings.get('constructor') or 'Default').rpartition('.')[2]
        names = [prefix + name for name, p in part.named_parameters() if p.requires_grad]
        pairs = [pair for one in plain_names(part, names) for pair in one.items()]
        if constructor.startswith('Default'):
            _compare_custom_keys(paramwise.get('custom_keys') or {}, pairs)
        elif constructor.startswith(LAYER_DECAY):
            _compare_layers(paramwise, pairs)
        else:
            _tell_names(constructor, pairs)
    _compared = ref(hub), text


def matching_key(name: str, custom_keys: Iterable[str]) -> Optional[str]:
    """The one of ``custom_keys`` that MMEngine's constructor takes for a parameter."""
    for key in sorted(sorted(custom_keys), key=len, reverse=True):
        if key in name:
            return key
    return None


def _compare_custom_keys(custom_keys: dict, pairs: list[tuple[str, str]]) -> None:
    names_in_plain = [plain for plain, _ in pairs]
    in_training_only = {
        key for key in custom_keys if not any(key in name for name in names_in_plain)
    }
    for plain, name in pairs:
        wanted, found = (matching_key(one, custom_keys) for one in (plain, name))
        if found in in_training_only or custom_keys.get(wanted) == custom_keys.get(found):
            continue
        key = found if wanted is None else wanted
        does = 'nothing' if found is None else f'custom_keys[{found!r}]'
        should = 'nothing' if wanted is None else f'custom_keys[{wanted!r}]'
        raise ValueError(
            f'{KEY}.custom_keys[{key!r}] acts on other parameters than in the plain model: '
            f'{name} gets {does}, as {plain} it would get {should}; {_instead(key, pairs)}'
        )


def _instead(key: str, pairs: list[tuple[str, str]]) -> str:
    """Keys for the parameters that ``key`` acts on in the plain model, and for no others."""
    others = {name for plain, name in pairs if key not in plain}
    starts: list[str] = []
    for plain, name in pairs:
        if key in plain:
            end = name.rfind(key) + len(key) if key in name else len(name)
            start = name[:end] + ('' if key.endswith('.') or end == len(name) else '.')
            if start not in starts:
                starts.append(start)
    good = [start for start in starts if not any(start in name for name in others)]
    if not good:
        return 'give keys that are part of the names in the model in training'
    shown = ', '.join(repr(start) for start in good[:4])
    return f'give {shown}{", ..." if len(good) > 4 else ""} in its place'


def _compare_layers(paramwise: dict, pairs: list[tuple[str, str]]) -> None:
    # not every version of MMPose has it
    from mmpose.engine.optim_wrappers.layer_decay_optim_wrapper import get_num_layer_for_vit

    layers = (paramwise.get('num_layers') or 0) + 2
    for plain, name in pairs:
        wanted, found = (get_num_layer_for_vit(one, layers) for one in (plain, name))
        if wanted != found:
            raise ValueError(
                f"optim_wrapper.constructor='{LAYER_DECAY}' acts on other parameters than in the "
                f'plain model: {name} counts as layer {found}, as {plain} it would as layer '
                f'{wanted}; leave the constructor out and give {KEY}.custom_keys with lr_mult for '
                f'each layer, such as {name.rpartition(".")[0]!r}'
            )


def _tell_names(constructor: str, pairs: list[tuple[str, str]]) -> None:
    other = [(plain, name) for plain, name in pairs if plain != name]
    if other:
        plain, name = other[0]
        print_log(
            f'optim_wrapper.constructor={constructor!r} is not known here: if it goes by the '
            f'names of parameters ({KEY}), {len(other)} have another one than in the plain model, '
            f'such as {name} for {plain}',
            'current',
            logging.WARNING,
        )
