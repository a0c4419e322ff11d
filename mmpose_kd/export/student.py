"""Take the trained student out of a model in training, check it, write it."""

from __future__ import annotations

import copy
import os
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Optional, Union

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope, init_default_scope
from mmpose.registry import MODELS
from torch import nn

from ..core.checkpoints import CheckpointError, read_checkpoint, write_checkpoint
from ..core.checks import checked_bool, checked_choice, checked_path, refusal
from ..core.config_file import ConfigError, read_config
from ..core.deployed import Deployed, training_part
from ..core.facts import meta_of, stated_config
from ..core.run import loop_counts_iterations
from ..core.steps import step
from ..core.weights import state_of
from ..records import BranchRecord, branch_records
from .config import ExportError, compare_with_run, plain_config
from .graph import CHANNELS, OUTPUTS
from .onnx_file import OnnxReport, onnx_packages, write_onnx
from .own_types import PACKAGE, StudentWarning, own_parts, traces, training_hooks
from .same_predictions import (
    PICTURES,
    input_size_of,
    picture_channels,
    same_predictions,
    udp_crops,
)

SHOWN = 3  # names of weights in a message


class Exported(tuple):
    """Paths of the weights and of the config, and what was done.

    Attributes:
        label: What was kept: ``'branch 1'``, ``'the student'``.
        branch: Its number, of a model with branches.
        metric: By which the branch was chosen, ``'coco/AP 0.512'``; None if it was not.
        epoch: Finished epochs of the checkpoint, None if it does not say; of a run that counts
            iterations, iterations.
        unit: ``'epoch'`` or ``'iteration'``.
        parameters: Of the student.
        passed_over: A better branch that was not taken, in words; None if there is none.
        onnx: What was written as an ONNX file; None if none was wanted.
        removed: An ONNX file of another student that lay there; None if there was none.
    """

    label: str
    branch: Optional[int]
    metric: Optional[str]
    epoch: Optional[int]
    unit: str = 'epoch'
    parameters: int
    passed_over: Optional[str]
    onnx: Optional[OnnxReport]
    removed: Optional[Path]

    def __new__(cls, weights: Path, config: Path, **facts):
        self = super().__new__(cls, (weights, config))
        vars(self).update(facts)
        return self

    def __str__(self) -> str:
        when = '' if self.epoch is None else f' after {self.unit} {self.epoch}'
        metric = f', {self.metric}' if self.metric else ''
        return (
            f'{self.label}{metric}{when}, {self.parameters:,} parameters; verified: predictions '
            f'bit-equal on {PICTURES} images, with and without flip test'
        )


def export_student(
    config: Union[str, Path],
    checkpoint: Union[str, Path],
    out: Union[str, Path],
    branch: Union[None, int, str] = None,
    allow_bigger: bool = False,
    force: bool = False,
    onnx: bool = False,
    onnx_outputs: str = 'rtmlib',
    onnx_channels: str = 'bgr',
    half: bool = False,
) -> Exported:
    """Write the trained student as a plain MMPose model.

    The plain model is built from the new config, loads the new weights strictly, and must
    give the same predictions on random pictures to the last bit as the part it came from.

    Args:
        config: The config of the training run, or the copy of it in its work directory.
        checkpoint: A checkpoint of the run.
        out: Folder to write ``student.pth`` and ``student.py`` to; made if missing.
        branch: Which branch of an online-distillation head to keep, counted from 0; ``'best'``
            for the one that was best in the validation after the checkpoint's epoch; None for
            the deployed branch.
        allow_bigger: Whether ``'best'`` may take a branch with more parameters than the
            deployed one; else it chooses among those that have no more.
        force: Whether files that are there already are replaced; a ``student.onnx`` among them
            is removed if no new one is wanted.
        onnx: Whether ``student.onnx`` is written beside them, with a free batch size, compared
            with onnxruntime: docs/onnx.md. It is also made of a plain model.
        onnx_outputs: ``'rtmlib'``: SimCC bins, as rtmlib's ``RTMPose`` reads them, of any head;
            ``'raw'``: the head's own outputs.
        onnx_channels: ``'bgr'``: the pictures' channels come as OpenCV reads them, as rtmlib
            hands them over; ``'rgb'``: red first.
        half: Whether weights in the ONNX file are float16.

    Returns:
        Paths of the weights and of the config, with what was done as attributes.

    Warns:
        StudentWarning: The student keeps a class of this package, such as a head that MMPose
            does not have: its config imports it and says so in its first line; or the config
            differs from the run's; or the run's metrics are about another output
            (``test_cfg.branch``).

    Raises:
        ExportError: The checkpoint does not fit the config, nothing of this package trained
            the model, the records for ``'best'`` are missing, or a check failed.
        FileNotFoundError: No such config or checkpoint.
        FileExistsError: There is a student in the folder already.
        ValueError: A setting of a wrong kind.
    """
    for name, value in (('config', config), ('checkpoint', checkpoint), ('out', out)):
        checked_path(value, f'export_student.{name}')
    flags = dict(allow_bigger=allow_bigger, force=force, onnx=onnx, half=half)
    for name, value in flags.items():
        checked_bool(value, f'export_student.{name}')
    checked_choice(onnx_outputs, 'export_student.onnx_outputs', OUTPUTS)
    checked_choice(onnx_channels, 'export_student.onnx_channels', CHANNELS)
    if half and not onnx:
        give = 'give onnx=True (--onnx) as well, it is about the ONNX file'
        raise refusal('export_student.half', half, give)
    config, checkpoint, out = Path(config), Path(checkpoint), Path(out)
    _check_there(config, checkpoint)
    files = [out / name for name in ('student.pth', 'student.py', 'student.onnx')]
    targets = files if onnx else files[:2]
    for path in files:
        if path.exists() and not force:
            raise FileExistsError(f'{path} is there already: give another folder, or --force')
    if onnx:
        onnx_packages()
    step('reading config and checkpoint')
    cfg, saved, state, trained = load_trained(config, checkpoint)
    record, passed_over = None, None
    if branch == 'best':
        record, passed_over = _best(cfg, config, checkpoint, saved, trained, allow_bigger)
        branch = record.branch
    outputs = getattr(getattr(_predictor(trained), 'head', None), 'output_names', ())
    plain_model, plain_state, labels = _peel(
        cfg.model, trained, state, branch, onnx or bool(training_hooks(cfg))
    )
    step('building the student')
    student = plain_config(cfg, plain_model, outputs)
    size = input_size_of(student)
    if size is None:
        raise ExportError(
            'val_dataloader.dataset.pipeline has no transform with input_size (TopdownAffine), '
            'and model.head.decoder no input_size: the size of the input is needed to check the '
            'student'
        )
    meta = {'dataset_meta': _plain_data(meta_of(saved).get('dataset_meta'))}

    with tempfile.TemporaryDirectory(dir=_existing(out), prefix='.export-') as folder:
        weights, script = Path(folder, 'student.pth'), Path(folder, 'student.py')
        write_checkpoint({'state_dict': plain_state, 'meta': meta}, weights)
        _write(student, script)
        again = _read(weights)['state_dict']
        plain = _load(Config.fromfile(script).model, again, 'the student does not load strictly')
        left = list(traces(script.read_text(encoding='utf-8'), plain))
        if left:
            raise ExportError(f'{PACKAGE} is left in {", ".join(left)}; nothing was written')
        step('comparing its predictions')
        _check_same_predictions(trained, plain, size, labels)
        report = None
        if onnx:
            step('writing and comparing the ONNX file')
            plain.dataset_meta = meta['dataset_meta']
            report = write_onnx(
                plain, size, Path(folder, 'student.onnx'), targets[-1],
                onnx_outputs, onnx_channels, half, udp_crops(student),
            )  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        for target in targets:
            os.replace(Path(folder, target.name), target)
    removed = files[-1] if not onnx and files[-1].exists() else None
    if removed:
        removed.unlink()  # it is not of the student that lies beside it now
    return Exported(
        *targets[:2],
        label=labels,
        branch=branch,
        metric=None if record is None else f'{record.metric} {record.value:.4g}',
        epoch=_finished(cfg, saved),
        unit=_unit(cfg),
        parameters=_parameters(plain),
        passed_over=passed_over,
        onnx=report,
        removed=removed,
    )


# --------------------------------------------------------------------- what was given


class Trained(NamedTuple):
    """What a training left.

    Attributes:
        cfg: Its config.
        saved: What the checkpoint holds.
        state: The weights of it.
        model: The model in training with these weights, in evaluation mode.
    """

    cfg: Config
    saved: dict
    state: dict
    model: BaseModel


def load_trained(config: Path, checkpoint: Path) -> Trained:
    """The model of a config with the weights of a checkpoint, which must fit strictly.

    Raises:
        ExportError: They do not fit, or one cannot be read.
        FileNotFoundError: No such file.
    """
    _check_there(config, checkpoint)
    cfg = _read_config(config)
    if DefaultScope.get_current_instance() is None:
        init_default_scope(cfg.get('default_scope') or 'mmpose')
    saved = _read(checkpoint)
    state = _state_of(saved, checkpoint)
    compare_with_run(cfg, stated_config(saved), str(config))
    problem = f'{checkpoint} does not fit {config}'
    return Trained(cfg, saved, state, _load(cfg.model, state, problem, _origin(saved)))


def _check_there(*paths: Path) -> None:
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f'{path}: no such file')


def _read_config(config: Path) -> Config:
    try:
        cfg = read_config(config)
    except ConfigError as error:
        raise ExportError(str(error)) from error
    if not isinstance(cfg.get('model'), dict):
        raise ExportError(
            f'{config} has no model: give the config that the model was trained with'
        )
    beside = cfg.get('data_preprocessor')
    if beside is not None:  # as MMEngine's Runner hands it to the model
        cfg.model.setdefault('data_preprocessor', beside)
    return cfg


def _read(checkpoint: Path) -> dict:
    try:
        return read_checkpoint(checkpoint)
    except CheckpointError as error:
        raise ExportError(str(error)) from error


def _state_of(saved: dict, checkpoint: Path) -> dict:
    try:
        state = state_of(saved, checkpoint)
    except CheckpointError as error:
        raise ExportError(str(error)) from error
    return {key.removeprefix('module.'): value for key, value in state.items()}


def _origin(saved: dict) -> str:
    """From which run a checkpoint says it comes."""
    run = stated_config(saved)
    model = run.get('model') if isinstance(run.get('model'), dict) else {}
    parts = [
        f'{name}.type={part["type"]}'
        for name, part in (('model', model), ('head', model.get('head')))
        if isinstance(part, dict) and 'type' in part
    ]
    name = meta_of(saved).get('experiment_name')
    told = [f'run {name}'] if isinstance(name, str) else []
    told += [f'a config with {", ".join(parts)}'] if parts else []
    return f'the checkpoint was written by {", ".join(told)}' if told else ''


def _finished(cfg: Config, saved: dict) -> Optional[int]:
    """Finished epochs (or iterations): the number of the validation after this checkpoint."""
    found = meta_of(saved).get('iter' if _unit(cfg) == 'iteration' else 'epoch')
    return found if isinstance(found, int) else None


def _unit(cfg: Config) -> str:
    """What the run's loop counts."""
    return 'iteration' if loop_counts_iterations(cfg.get('train_cfg') or {}) else 'epoch'


# ------------------------------------------------------------------------ the branch


class _OnlyTeaches(ExportError):
    """A branch that is no whole model."""


def _best(
    cfg: Config, config: Path, checkpoint: Path, saved: dict, trained: BaseModel, bigger: bool
) -> tuple[BranchRecord, Optional[str]]:
    """The record of the branch to take, and in words a better one that is too big."""
    folders = [checkpoint.parent, config.parent]
    if isinstance(cfg.get('work_dir'), str):
        folders.append(Path(cfg.work_dir))
    try:
        records = branch_records(cfg, folders, _finished(cfg, saved), _unit(cfg))
    except ValueError as error:
        raise ExportError(str(error)) from error
    costs = {}
    for one in records:
        with suppress(_OnlyTeaches):
            costs[one.branch] = _cost(cfg.model, trained, one.branch)
    records = [one for one in records if one.branch in costs]
    if not records:
        raise ExportError('--branch best: none that was measured can be exported: give one')
    deployed = _cost(cfg.model, trained, None)
    fitting = [one for one in records if bigger or costs[one.branch] <= deployed]
    best = records[0]
    if not fitting or best is fitting[0]:
        if best is not (fitting or [None])[0]:
            raise ExportError(
                f'--branch best: every branch has more parameters than the deployed one, '
                f'{deployed:,}: give --branch N, or --allow-bigger'
            )
        more = costs[best.branch] - deployed
        told = f'branch {best.branch} has {more:,} parameters more than the deployed branch'
        return best, told if more > 0 else None
    return fitting[0], (
        f'branch {best.branch} was better ({best.metric} {best.value:.4g}), but has '
        f'{costs[best.branch]:,} parameters, the deployed branch {deployed:,}: it is not taken '
        'without --allow-bigger'
    )


def _deployed(part: nn.Module, branch: Optional[int]) -> Deployed:
    """What remains of a part with this branch, if that is a whole model."""
    found: Deployed = part.deployed(branch)
    if found.why_not:
        raise _OnlyTeaches(f'branch {branch}: {found.why_not}')
    return found


def _cost(model: dict, trained: nn.Module, branch: Optional[int]) -> int:
    """Parameters of the student that a branch would become, when every part is taken off."""
    part = _training_part(trained)
    while part is not None:
        try:
            found = _deployed(part, branch)
        except ExportError:
            raise
        except (AttributeError, ValueError) as error:
            raise ExportError(f'branch {branch}: {error}') from error
        model = found.config(model)
        with torch.device('meta'), torch.random.fork_rng(devices=[]):
            trained = MODELS.build(copy.deepcopy(model))
        part = _training_part(trained)
    return _parameters(trained)


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


# ------------------------------------------------------------------------ the weights


def _load(model: dict, state: dict, problem: str, origin: str = '') -> BaseModel:
    """Build a model and load all of its weights; none are fetched from elsewhere."""
    try:
        built = MODELS.build(model)
    except (TypeError, ValueError, KeyError, AttributeError, AssertionError) as error:
        raise ExportError(f'{problem}: the model cannot be built: {error}') from error
    differences = _differences(built.state_dict(), state)
    if differences:
        raise ExportError('\n'.join([problem, *differences, *([origin] if origin else [])]))
    try:
        built.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ExportError(f'{problem}: {str(error)[:500]}') from error
    return built.eval()


def _differences(wanted: dict, given: dict) -> list[str]:
    """Which weights are missing, too many or of another shape, a line each."""
    shapes = [
        f'{key} {tuple(given[key].shape)} in place of {tuple(wanted[key].shape)}'
        for key in wanted
        if key in given and given[key].shape != wanted[key].shape
    ]
    found = []
    for what, keys in (
        ('missing in the checkpoint', [key for key in wanted if key not in given]),
        ('not in the model', [key for key in given if key not in wanted]),
        ('of another shape', shapes),
    ):
        if keys:
            more = '' if len(keys) <= SHOWN else ', ...'
            found.append(f'  {len(keys)} {what}: {", ".join(keys[:SHOWN])}{more}')
    return found


def _training_part(model: BaseModel) -> Optional[nn.Module]:
    try:
        return training_part(model)
    except ValueError as error:
        raise ExportError(str(error)) from error


def _predictor(model: BaseModel) -> nn.Module:
    """The model whose head predicts: in a distiller the student."""
    return getattr(model, 'student', model)


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
        found = _deployed(part, branch)
        _tell_measured(trained, found)
        trained.test_cfg = {**trained.test_cfg, **found.predict_with}
        model, state = found.config(model), found.state_dict(state)
        labels.append(found.label)
        branches.append(found.branch)
        part = _training_part(_load(model, state, f'{found.label} does not stand alone'))
    if not labels and not by_hook:
        raise ExportError(
            f'model: nothing of {PACKAGE} in it; a plain model needs no export, use its '
            'checkpoint (as an ONNX file: --onnx)'
        )
    if branch is not None and branches == [None] * len(branches):
        raise ExportError(f'branch {branch}: this model has no branches, leave the setting out')
    return model, state, ', '.join(labels) or 'the trained model'


def _tell_measured(trained: BaseModel, found: Deployed) -> None:
    """Warn where the run validated, and saved as its best, another output than what remains.

    With ``'all'``, or where nothing is set, it was the deployed one.
    """
    measured, exported = (cfg.get('branch') for cfg in (trained.test_cfg, found.predict_with))
    if exported is None or measured in (None, 'all', exported):
        return
    key = 'model.test_cfg' if _predictor(trained) is trained else 'model.student.test_cfg'
    warnings.warn(
        f"{key}.branch={measured!r}: that output the run's metrics, and a checkpoint that it "
        f"saved as the best, are about; exported is {found.label}. With branch='all' a run "
        'measures every output',
        StudentWarning,
        stacklevel=4,
    )


def _check_same_predictions(
    trained: BaseModel, plain: BaseModel, size: tuple[int, int], label: str
) -> None:
    channels = picture_channels(plain)
    try:
        difference = same_predictions(trained, plain, size, channels)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ExportError(
            f'the student cannot be checked on pictures of {channels} channels, '
            f'{size[0]} x {size[1]}: {str(error).splitlines()[0]}; look at '
            'model.backbone.in_channels, model.data_preprocessor and the input_size of '
            'val_dataloader.dataset.pipeline; nothing was written'
        ) from error
    if difference is not None:
        raise ExportError(
            f'the exported student does not predict the same as {label} ({difference}); nothing '
            'was written'
        )


# -------------------------------------------------------------------------- the files


def _write(student: Config, script: Path) -> None:
    """The config, below a line that says so if it is not plain MMPose's."""
    student.dump(script)
    kept = own_parts(student.model.to_dict(), kept=True, key='model.')
    if kept:
        header = f'# Needs {PACKAGE} to be installed, also to predict: {", ".join(kept)}\n'
        script.write_text(header + script.read_text(encoding='utf-8'), encoding='utf-8')


def _plain_data(value):
    """Numpy arrays and scalars as lists and numbers: loads anywhere with weights_only=True."""
    if isinstance(value, dict):
        return {_plain_key(k): _plain_data(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain_data(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value


def _plain_key(key):
    return key.item() if isinstance(key, np.generic) else key


def _existing(path: Path) -> Path:
    """The nearest existing folder, so that moving a file to its place is one operation."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path
