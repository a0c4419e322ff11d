"""Write the config with which a method trains the model of another config."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Optional, Union

from mmengine.config import Config

from ..core.checks import checked_bool, checked_choice, checked_path
from ..core.recipe import RECIPES, Recipe
from ..core.whole_files import write_whole
from .advice import advice_on
from .own_run import apart
from .source import Source, evaluated, is_read_from
from .text import config_text, says_what_is_wanted
from .trial import Trial, TrialError, tried


class WrapError(ValueError):
    """A config cannot be wrapped; nothing was written."""


class Wrapped(os.PathLike):
    """The config that was written, and what was tried.

    Attributes:
        path: Its file.
        text: What stands in it.
        trial: The training step that was made; None if none was asked for.
        caution: What to know before the training; None if there is nothing.
    """

    def __init__(self, path: Path, text: str, trial: Optional[Trial], caution: Optional[str]):
        self.path, self.text, self.trial, self.caution = path, text, trial, caution

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        lines = sum(bool(line) and not line.startswith('#') for line in self.text.splitlines())
        done = [f'{lines} lines; read back, they say exactly what the method asks for']
        if self.trial is not None:
            done.append(str(self.trial))
        if self.caution is not None:
            done.append(f'note: {self.caution}')
        return '\n'.join(done)


def wrap_config(
    config: Union[str, os.PathLike],
    method: str,
    out: Union[str, os.PathLike],
    teacher: Optional[dict] = None,
    force: bool = False,
    trial: bool = True,
) -> Wrapped:
    """Write a config that inherits one's own and adds what a method changes, and try it.

    It is evaluated and compared with what the method wants; then its model is built and trained
    for a step, with two pictures of the training data, or made-up ones if that is not there. Of
    the inherited config's run neither the folder nor its resuming is taken over: :func:`apart`.

    Args:
        config: Path of a config of MMPose, in text or pure Python style, on any data, or the
            name of an installed one (``'mmpose::body_2d_keypoint/...'``).
        method: ``'okdhp'``, ``'ocd'``, ...; :func:`advise` says which fit.
        out: Where to write it, a ``.py`` file; written whole or not at all.
        teacher: For a method with a teacher: arguments of
            :class:`~mmpose_kd.distiller.Teacher`, ``dict(config=..., checkpoint=...)``.
        force: Whether a file that is there already is replaced.
        trial: Whether the step is made.

    Raises:
        WrapError: The method does not fit the config or the teacher, or the step fails.
        ConfigError: The config cannot be read.
        FileNotFoundError: No such checkpoint of the teacher.
        FileExistsError: The file is there already.
        ValueError: A setting that cannot be used, such as an ``out`` that the config or the
            teacher's config is read from. (The first two are ``ValueError`` as well.)
    """
    recipe = RECIPES[checked_choice(method, 'method', RECIPES)]
    out = Path(checked_path(out, 'out'))
    checked_bool(force, 'force')
    checked_bool(trial, 'trial')
    _check_out(out, config, teacher, force)
    _check_teacher(recipe, teacher)
    source = Source.of(config)
    source.inheriting(out)  # whether it can be
    _check_fit(recipe, source)
    try:
        whole = apart(source, method, out)
        wanted = recipe.distilled(whole, *([teacher] if recipe.needs_teacher else []))
    except ValueError as error:
        raise WrapError(f'{method} cannot be made of {source.name}: {error}') from error
    caution = recipe.caution(source.whole)
    text = config_text(source, wanted, recipe, out, caution)
    with tempfile.TemporaryDirectory(prefix='.unfinished-', dir=_existing(out.parent)) as folder:
        candidate = Path(folder, out.name)
        written = config_text(source, wanted, recipe, candidate)
        candidate.write_text(written, encoding='utf-8')
        if not says_what_is_wanted(evaluated(candidate), wanted, source.python):
            raise WrapError(
                f'{source.name}: a config that inherits it does not say what {method} wants; '
                'nothing was written'
            )
        step = _tried(candidate) if trial else None
    write_whole(out, lambda path: path.write_text(text, encoding='utf-8'))
    return Wrapped(out, text, step, caution)


def _check_out(out: Path, config, teacher: Optional[dict], force: bool) -> None:
    if out.suffix != '.py':
        raise ValueError(f'out={str(out)!r}: give a name that ends in .py')
    if out.is_dir():
        raise IsADirectoryError(f'out={str(out)!r}: this is a folder, give a file in it')
    if not out.exists():
        return
    if os.path.exists(config) and os.path.samefile(out, config):
        raise ValueError(f'out={str(out)!r}: this is the config itself, give another file')
    taught_by = teacher.get('config') if isinstance(teacher, dict) else None
    for path, whose in ((config, 'the config'), (taught_by, "the teacher's config")):
        if isinstance(path, (str, os.PathLike)) and is_read_from(path, out):
            give = f'this is {whose} or a base of it, which would be lost, give another file'
            raise ValueError(f'out={str(out)!r}: {give}')
    if not force:
        raise FileExistsError(f'{out} is there already: give another file, or --force')


def _check_teacher(recipe: Recipe, teacher: Optional[dict]) -> None:
    if not recipe.needs_teacher:
        if teacher is not None:
            raise WrapError(f'{recipe.name} needs no teacher: leave --teacher out')
        return
    if teacher is None:
        raise WrapError(
            f'{recipe.name} needs a teacher, {recipe.teacher}: give --teacher CONFIG CHECKPOINT'
        )
    checkpoint = teacher.get('checkpoint') if isinstance(teacher, dict) else None
    if not isinstance(checkpoint, str) or '://' in checkpoint:
        return
    if not Path(checkpoint).expanduser().is_file():
        raise FileNotFoundError(f'--teacher: {checkpoint}: no such checkpoint')


def _check_fit(recipe: Recipe, source: Source) -> None:
    why = recipe.misfit(source.whole)
    if why is None:
        return
    fitting = [answer.recipe.name for answer in advice_on(source.whole) if answer.fits]
    instead = f'what fits: {", ".join(fitting)}' if fitting else 'no other method fits either'
    raise WrapError(f'{recipe.name} does not fit {source.name}: {why}; {instead}')


def _tried(candidate: Path) -> Trial:
    try:
        return tried(Config.fromfile(str(candidate)))
    except TrialError as error:
        raise WrapError(
            f'{error}; nothing was written. If the config itself trains, --no-trial writes it '
            'untried'
        ) from error


def _existing(folder: Path) -> Path:
    """The nearest folder that is there already."""
    return next(p for p in (folder.absolute(), *folder.absolute().parents) if p.is_dir())
