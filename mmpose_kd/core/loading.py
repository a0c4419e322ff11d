"""Load a checkpoint of the plain model into a model in training.

MMEngine loads ``load_from`` and ``init_cfg=dict(type='Pretrained')`` by name, and a part that
exists in training only has other names. They are found by reading backwards what the part's
``deployed()`` states.
"""

from __future__ import annotations

import logging
from typing import Optional
from weakref import ref

from mmengine.logging import MessageHub, print_log
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from .checkpoints import read_checkpoint
from .deployed import Deployed, deployments
from .run import run_config, run_info
from .weights import state_of, wrong_state

SHOWN = 3  # names of weights in a message
PIECES = ('backbone', 'neck', 'head')
OF_TRAINING = ('student.', 'head.branches.', 'head.deploy.')

_last_warning: Optional[tuple] = None  # the run, and what was said in it last


def rename_plain_weights(
    model: nn.Module, state: dict, prefix: str, local_metadata: dict, *_
) -> None:
    """Give a checkpoint of the plain model the names of the model in training.

    A hook of the model's ``load_state_dict``. A checkpoint of the training itself is left as it
    is. Of another one every weight goes wherever the model in training has it, to each branch
    for instance. What it has no value for keeps the present one, and one line says what that is,
    with the count and three names; weights that exist in training only are not mentioned.

    Args:
        model: With a part that has ``deployed()``, or itself such a part.
        state: The state dict that is being loaded, which is changed.
        prefix: Of the model's keys in ``state``.
        local_metadata: With the ``version`` of the names, if it is known.

    Raises:
        ValueError: It is no state dict; nothing of the deployed model is in it; or none of its
            weights of the backbone, the neck or the head is one of the deployed model's.
    """
    check_state(state)
    part = model if hasattr(model, 'deployed') else model.head
    mine = model.state_dict()
    ways = deployments(part)
    given = {key[len(prefix) :]: state[key] for key in state if key.startswith(prefix)}
    if _is_of_training(given, ways, mine):
        return
    if not any(key.startswith((*PIECES, 'keypoint_head.')) for key in given):
        stripped = {key[len('module.') :] if key.startswith('module.') else key for key in given}
        if _is_of_training(stripped, ways, mine):
            return
        for key in [key for key in given if key.startswith('module.')]:  # of a model wrapper
            given[key[len('module.') :]] = given.pop(key)
    if (local_metadata.get('version') or 0) < 2:  # of MMPose 0.x
        given = {key.replace('keypoint_head.', 'head.'): given[key] for key in given}

    arrived: dict[str, Tensor] = {}
    missed: dict[str, str] = {}
    used = {'data_preprocessor.mean', 'data_preprocessor.std'}  # are settings, not weights
    for way in ways:
        found = _as_stock_names(given, way, model)
        names = way.state_dict({name: name for name in mine})
        fits = {p for p, n in names.items() if p in found and _same(found[p], mine[n])}
        if way is ways[0]:
            # norms and biases may have the same length by chance
            _refuse_misfit(found, names, {p for p in fits if mine[names[p]].ndim > 1})
        for plain, name in names.items():
            if plain in fits:
                arrived[name] = found[plain]
            elif not plain.endswith('num_batches_tracked'):
                missed[name] = _why(found.get(plain), mine[name])
        used |= {key for key in given if key in names or key not in found}

    for key in [key for key in state if key.startswith(prefix)]:
        if key[len(prefix) :] not in given or key[len(prefix) :] in used:
            del state[key]
    state.update({prefix + key: value for key, value in given.items() if key not in used})
    for name, value in mine.items():
        # copies: with load_state_dict(assign=True) branches would share them
        state[prefix + name] = arrived[name].clone() if name in arrived else value
    counted = {name for name in {*arrived, *missed} if 'num_batches_tracked' not in name}
    if missed:
        some = ', '.join(f'{name} ({why})' for name, why in list(missed.items())[:SHOWN])
        more = ', ...' if len(missed) > SHOWN else ''
        say_once(
            f'load_from: {len(missed)} of {len(counted)} weights of the deployed model did not '
            f'arrive and stay as initialised: {some}{more}'
        )
    if hasattr(part, 'plain_weights_arrived'):
        part.plain_weights_arrived(set(arrived))


def look_at_load_from() -> None:
    """Say in one line what is wrong with the run's ``load_from``; MMEngine would stumble over it.

    Only of a file, and of a run whose config is known.

    Raises:
        FileNotFoundError: No such file.
        CheckpointError: It is no checkpoint, or has no weights by name.
    """
    file = run_config().get('load_from')
    if isinstance(file, str) and file and '://' not in file:
        state_of(read_checkpoint(file), f'load_from={file!r}')


def check_state(state) -> None:
    """Refuse what is handed to a model as its weights and is something else.

    Raises:
        ValueError: It is no dict of real weights by name.
    """
    found = wrong_state(state)
    if found is not None:
        raise ValueError(f'load_from: the checkpoint has no weights by name: {found}')


def _is_of_training(keys, ways: list[Deployed], mine: dict) -> bool:
    """Whether any of the keys is one that only the model in training has."""
    prefixes = tuple(old for way in ways for old in way.rename)
    plain = {name for way in ways for name in way.state_dict(dict.fromkeys(mine))}
    return any(key.startswith(prefixes) or (key in mine and key not in plain) for key in keys)


def _as_stock_names(given: dict, way: Deployed, model: nn.Module) -> dict:
    """With the names that the deployed head has today, from those of MMPose 0.x.

    Stock heads do so while they load, in a hook of theirs; but only names that are in the model
    are handed on to them here.
    """
    for old, plain in way.rename.items():
        path = {'head.': old[:-1], '': f'{old}head'}.get(plain)
        head = dict(model.named_modules()).get(path) if path else None
        for hook in getattr(head, '_load_state_dict_pre_hooks', {}).values():
            renamed = dict(given)
            try:
                hook(renamed, 'head.', {}, False, [], [], [])
            except (AssertionError, AttributeError, IndexError, ValueError):
                continue  # names of another head
            given = renamed
    return given


def _same(value, mine: Tensor) -> bool:
    return getattr(value, 'shape', None) == mine.shape


def _why(value, mine: Tensor) -> str:
    if value is None:
        return 'missing in the checkpoint'
    found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    return f'{found} in the checkpoint, {tuple(mine.shape)} in the model'


def _refuse_misfit(given: dict, names: dict[str, str], fits: set[str]) -> None:
    """Refuse a checkpoint of something else.

    Args:
        given: The checkpoint's weights by their plain names.
        names: Plain names of the deployed model's weights.
        fits: Matrices and kernels that the checkpoint has in the same shape.
    """
    found = [key for key in given if 'num_batches_tracked' not in key]
    wanted = [name for name in names if 'num_batches_tracked' not in name]
    give = (
        'give a checkpoint of the plain model, or for a backbone alone set load_from=None and '
        "init_cfg=dict(type='Pretrained', prefix='backbone.', checkpoint=...) in the backbone's "
        "config (without prefix if its names do not begin with 'backbone.')"
    )
    if any(key.startswith(OF_TRAINING) for key in found):
        give = 'it is a checkpoint of a distillation: export its student with mmpose-kd export'
    if not fits:
        raise ValueError(
            'load_from: the checkpoint has none of the weights of the deployed model, it has '
            f'{_some(found)}; the model has {_some(wanted)}: {give}'
        )
    for piece in PIECES:
        there, here = ({n for n in one if n.startswith(f'{piece}.')} for one in (found, wanted))
        # a head for other keypoints has the same names; that is warned of, not refused
        other = piece == 'backbone' or there != here
        if there and here and other and not here & fits:
            raise ValueError(
                f'load_from: none of the {piece}.* weights of the checkpoint fits the deployed '
                f'{piece}: it has {_some(sorted(there))}, the model {_some(sorted(here))}: {give}'
            )


def _some(names: list[str]) -> str:
    shown = ', '.join(names[:SHOWN])
    return f'{len(names)} ({shown}{", ..." if len(names) > SHOWN else ""})' if names else 'none'


def say_once(line: str) -> None:
    """Say it once in a run, in which an EMA hook may load the same into its copy."""
    global _last_warning
    if run_info('cfg') is not None:
        hub = MessageHub.get_current_instance()
        if _last_warning is not None and _last_warning[0]() is hub and _last_warning[1] == line:
            return
        _last_warning = ref(hub), line
    print_log(line, 'current', logging.WARNING)


def _watch(model: nn.Module, name: str, part: Optional[nn.Module]) -> None:
    """Let a model that gets a head for the training accept checkpoints of the plain model.

    Torch calls this for every module that is assigned to another one; MMPose offers nothing that
    is called when a model gets its head.
    """
    if name == 'head' and hasattr(part, 'deployed'):
        model._register_load_state_dict_pre_hook(rename_plain_weights, with_module=True)


register_module_module_registration_hook(_watch)
