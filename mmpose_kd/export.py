"""From a model trained with distillation to a plain MMPose model."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Optional, Union

import mmpose.registry
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope, Registry, init_default_scope
from mmengine.structures import InstanceData
from mmpose.codecs.base import BaseKeypointCodec
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample
from torch import nn

from .core.checkpoints import CheckpointError, read_checkpoint
from .core.deployed import Deployed, training_part
from .records import best_branch

PACKAGE = __name__.partition('.')[0]


class ExportError(ValueError):
    """The student cannot be exported; nothing was written."""


class StudentWarning(UserWarning):
    """The exported student is no stock model in every part."""


def export_student(
    config: Union[str, Path],
    checkpoint: Union[str, Path],
    out: Union[str, Path],
    branch: Union[None, int, str] = None,
) -> tuple[Path, Path]:
    """Write the trained student as a plain MMPose model.

    The plain model is built from the new config, loads the new weights strictly, and must
    give the same predictions on a random batch to the last bit as the part it came from.

    Args:
        config: The config of the training run, or the copy of it in its work directory.
        checkpoint: A checkpoint of the run.
        out: Folder to write ``student.pth`` and ``student.py`` to; made if missing.
        branch: Which branch of an online-distillation head to keep, counted from 0; ``'best'``
            for the one that was best in the validation after the checkpoint's epoch; None for
            the deployed branch.

    Returns:
        Paths of the weights and of the config.

    Warns:
        StudentWarning: The student keeps a class of this package, such as a head that MMPose
            does not have; its config imports it.

    Raises:
        ExportError: The checkpoint does not fit the config, nothing of this package trained
            the model, the records for ``'best'`` are missing, or the check failed.
        FileNotFoundError: No such config or checkpoint.
    """
    config, checkpoint, out = Path(config), Path(checkpoint), Path(out)
    for path in (config, checkpoint):
        if not path.is_file():
            raise FileNotFoundError(f'{path}: no such file')
    cfg = Config.fromfile(config)
    if not isinstance(cfg.get('model'), dict):
        raise ExportError(
            f'{config} has no model: give the config that the model was trained with'
        )
    if DefaultScope.get_current_instance() is None:
        init_default_scope(cfg.get('default_scope', 'mmpose'))
    saved = _read(checkpoint)
    state = saved.get('state_dict', saved)
    if branch == 'best':
        try:
            branch = best_branch(cfg, checkpoint.parent, _validation_step(cfg, saved))
        except ValueError as error:
            raise ExportError(str(error)) from error

    trained = _load(cfg.model, state, f'{checkpoint} does not fit {config}')
    plain_model, plain_state, labels = _peel(
        cfg.model, trained, state, branch, bool(training_hooks(cfg))
    )
    student = plain_config(cfg, plain_model)
    meta = {'dataset_meta': _plain_data(saved.get('meta', {}).get('dataset_meta'))}

    with tempfile.TemporaryDirectory(dir=_existing(out), prefix='.export-') as folder:
        weights, script = Path(folder, 'student.pth'), Path(folder, 'student.py')
        torch.save({'state_dict': plain_state, 'meta': meta}, weights)
        student.dump(script)
        again = _read(weights)['state_dict']
        plain = _load(Config.fromfile(script).model, again, 'the student does not load strictly')
        _check_same_predictions(trained, plain, _input_size(student), labels)
        out.mkdir(parents=True, exist_ok=True)
        for path in (weights, script):
            os.replace(path, out / path.name)
    return out / 'student.pth', out / 'student.py'


def _read(checkpoint: Path) -> dict:
    try:
        return read_checkpoint(checkpoint)
    except CheckpointError as error:
        raise ExportError(str(error)) from error


def _validation_step(cfg: Config, saved: dict) -> int:
    """The number under which the validation after this checkpoint is recorded."""
    by_epoch = cfg.get('train_cfg', {}).get('by_epoch', True)
    return saved.get('meta', {}).get('epoch' if by_epoch else 'iter')


def _load(model: dict, state: dict, problem: str) -> BaseModel:
    """Build a model and load all of its weights; none are fetched from elsewhere."""
    try:
        built = MODELS.build(model)
    except (TypeError, ValueError, KeyError, AttributeError, AssertionError) as error:
        raise ExportError(f'{problem}: the model cannot be built: {error}') from error
    try:
        built.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ExportError(f'{problem}: {error}') from error
    return built.eval()


def training_hooks(cfg: dict) -> list[dict]:
    """The hooks of a run that teach the model: it may be a plain one for all that."""
    hooks = cfg.get('custom_hooks') or []
    return [hook for hook in hooks if getattr(_own_class(hook['type']), 'trains_student', False)]


def _training_part(model: BaseModel) -> Optional[nn.Module]:
    try:
        return training_part(model)
    except ValueError as error:
        raise ExportError(str(error)) from error


def _peel(
    model: dict, trained: BaseModel, state: dict, branch: Optional[int], by_hook: bool
) -> tuple[dict, dict, str]:
    """Take training-only parts off, from the outside in, until a stock model remains.

    Sets ``trained.test_cfg`` so that the model in training predicts with what remains. With
    ``by_hook`` there may be none to take off: what was trained is the student.
    """
    labels, branches = [], []
    part = _training_part(trained)
    while part is not None:
        found: Deployed = part.deployed(branch)
        trained.test_cfg = {**trained.test_cfg, **found.predict_with}
        model, state = found.config(model), found.state_dict(state)
        labels.append(found.label)
        branches.append(found.branch)
        part = _training_part(_load(model, state, f'{found.label} does not stand alone'))
    if not labels and not by_hook:
        raise ExportError(
            f'model: nothing of {PACKAGE} in it; a plain model needs no export, use its checkpoint'
        )
    if branch is not None and branches == [None] * len(branches):
        raise ExportError(f'branch {branch}: this model has no branches, leave the setting out')
    return model, state, ', '.join(labels) or 'the trained model'


# ------------------------------------------------------------------------- the config


def plain_config(cfg: Config, model: dict) -> Config:
    """The run's config with the plain model, without what else of this package is in it.

    Args:
        cfg: The config of a training run.
        model: The plain model's config. A class of this package that stays in students
            (``kept_in_student``) keeps the import of the package in the config.

    Warns:
        StudentWarning: There is such a class.

    Raises:
        ExportError: Something else of this package would remain.
    """
    plain = cfg.to_dict()
    plain['model'] = Config(dict(model=model)).to_dict()['model']
    imports = plain.pop('custom_imports', None) or {}
    modules = imports.get('imports', [])
    modules = [modules] if isinstance(modules, str) else modules
    needed = [name for name in modules if name.partition('.')[0] != PACKAGE]
    kept = _own_parts(model, kept=True)
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
        hook for hook in plain.get('custom_hooks') or [] if _own_class(hook['type']) is None
    ]
    plain = _without_own_steps(plain)
    for key in [k for k in plain if k in ('work_dir', 'launcher') or k.startswith('_')]:
        del plain[key]  # of the run, or a help variable of the config; not of the model
    plain.update(load_from=None, resume=False)
    traces = _own_parts(plain, kept=False)
    if traces:
        raise ExportError(
            f'the student would still need {PACKAGE}: {", ".join(traces)}; nothing was written'
        )
    return Config(plain)


def _without_own_steps(node):
    """The config with what this package's pipeline steps and codecs say is left of them."""
    if isinstance(node, dict):
        own = _own_class(node.get('type'))
        if own is not None and issubclass(own, BaseKeypointCodec):
            return _without_own_steps(own.plain(node))
        return {key: _without_own_steps(value) for key, value in node.items()}
    if not isinstance(node, (list, tuple)):
        return node
    steps = []
    for step in node:
        own = _own_class(step.get('type')) if isinstance(step, dict) else None
        if own is not None and issubclass(own, BaseTransform):
            left = own.plain(step)  # a step, nothing, or the steps that ours was around
            left = left if isinstance(left, list) else [left]
            steps.extend(_without_own_steps([x for x in left if x is not None]))
        else:
            steps.append(_without_own_steps(step))
    return type(node)(steps)


def _own_class(kind) -> Optional[type]:
    """The class of this package that a ``type`` of a config is, or is the name of."""
    if isinstance(kind, str):
        registries = [r for r in vars(mmpose.registry).values() if isinstance(r, Registry)]
        classes = [r.module_dict[kind] for r in registries if kind in r.module_dict]
    else:
        classes = [kind] if isinstance(kind, type) else []
    return next((c for c in classes if c.__module__.partition('.')[0] == PACKAGE), None)


def _own_parts(node, kept: bool, key: str = '') -> list[str]:
    """Keys of the config under which something of this package is asked for.

    Args:
        node: The config.
        kept: Tell of the classes that stay in a student (``kept_in_student``), else of others.
    """
    if isinstance(node, dict):
        own = _own_class(node.get('type'))
        found = own is not None and getattr(own, 'kept_in_student', False) is kept
        here = [f"{key}type='{node['type']}'"] if found else []
        return here + [line for k, v in node.items() for line in _own_parts(v, kept, f'{key}{k}.')]
    if isinstance(node, (list, tuple)):
        return [line for i, v in enumerate(node) for line in _own_parts(v, kept, f'{key}{i}.')]
    return []


def _input_size(cfg: Config) -> tuple[int, int]:
    """Width and height of the model's input, from the validation or training pipeline."""
    for loader in ('val_dataloader', 'test_dataloader', 'train_dataloader'):
        dataset = (cfg.get(loader) or {}).get('dataset', {})
        for transform in dataset.get('pipeline', []):
            if 'input_size' in transform:
                return tuple(transform['input_size'])
    raise ExportError(
        'val_dataloader.dataset.pipeline has no transform with input_size (TopdownAffine): '
        'the size of the input is needed to check the student'
    )


def _plain_data(value):
    """Numpy arrays and scalars as lists and numbers: loads anywhere with weights_only=True."""
    if isinstance(value, dict):
        return {_plain_data(k): _plain_data(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain_data(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value


def _existing(path: Path) -> Path:
    """The nearest existing folder, so that moving a file to its place is one operation."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


# -------------------------------------------------------------------------- the check


def _check_same_predictions(
    trained: BaseModel, plain: BaseModel, size: tuple[int, int], label: str
) -> None:
    num_keypoints = _predict(plain, size)[0].shape[1]
    for flip_indices in (None, list(range(num_keypoints))[::-1]):
        expected = _predict(trained, size, flip_indices)
        found = _predict(plain, size, flip_indices)
        if not all(np.array_equal(a, b) for a, b in zip(expected, found)):
            raise ExportError(
                f'the exported student does not predict the same as {label} '
                f'(flip_test={flip_indices is not None}); nothing was written'
            )


def _predict(
    model: BaseModel, size: tuple[int, int], flip_indices: Optional[list[int]] = None
) -> list[np.ndarray]:
    """Keypoints, scores and heatmaps of two random images, the same ones at every call.

    Args:
        model: A pose estimator.
        size: Width and height of its input.
        flip_indices: With them the prediction is made with flip test.
    """
    width, height = size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, height, width), generator=generator, dtype=torch.uint8)
    info = {
        'input_size': size,
        'input_center': np.array([width / 2, height / 2]),
        'input_scale': np.array([width, height], dtype=float),
        'img_shape': (height, width),
        'flip_indices': flip_indices,
    }
    boxes = InstanceData(bboxes=np.array([[0, 0, width, height]]), bbox_scores=np.ones(1))
    samples = [PoseDataSample(metainfo=info, gt_instances=boxes) for _ in images]
    before = model.test_cfg
    model.test_cfg = {
        **before,
        'flip_test': flip_indices is not None,
        'output_heatmaps': True,
        'output_keypoint_indices': None,
    }
    try:
        with torch.no_grad():
            results = model.test_step({'inputs': list(images), 'data_samples': samples})
    finally:
        model.test_cfg = before
    arrays = []
    for result in results:
        arrays += [result.pred_instances.keypoints, result.pred_instances.keypoint_scores]
        if 'pred_fields' in result:
            arrays.append(result.pred_fields.heatmaps.numpy())
    return arrays
