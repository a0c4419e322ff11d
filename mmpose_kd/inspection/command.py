"""Draw a sheet for each of some samples: what every part of a model in training says of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Optional, Union

import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmpose.registry import HOOKS

from ..core.contact_sheet import contact_sheet, is_sheet, write_sheet
from ..core.facts import stated_dataset
from ..core.panels import panels_of, picture
from ..core.steps import step
from ..export.own_types import own_class
from ..export.student import load_trained
from .samples import NUMBER, photographs, validation_samples

AT_ONCE = 4  # samples that go through the model together


def draw_sheets(
    config: Union[str, Path],
    checkpoint: Union[str, Path],
    out: Union[str, Path],
    images: Sequence[Union[str, Path]] = (),
    samples: Optional[Sequence[int]] = None,
    force: bool = False,
) -> list[Path]:
    """Write a PNG file for each sample, all of them or none.

    Args:
        config: The config of the training run, or the copy of it in its work directory.
        checkpoint: A checkpoint of the run.
        out: Folder to write to; made.
        images: Pictures, each filled by one person (animal, hand, ...). Without them: samples of
            the validation.
        samples: Numbers of the validation's samples, from 0. None: four, spread evenly.
        force: Whether sheets that are there already are replaced.

    Returns:
        The files.

    Raises:
        ValueError: The checkpoint does not fit the config, a teacher or guide cannot be read, or
            there are no such samples.
        FileNotFoundError: No such file.
        FileExistsError: The folder is there already.
    """
    config, checkpoint, out = Path(config), Path(checkpoint), Path(out)
    _check_out(out, force)
    step('reading config, checkpoint and teachers')
    trained = load_trained(config, checkpoint)
    cfg, model, saved = trained.cfg, trained.model, trained.saved
    hooks = hooks_with_panels(cfg)
    for part in [*model.modules(), *hooks]:
        if hasattr(part, 'prepare_panels'):
            part.prepare_panels(model, cfg, saved, checkpoint)
    step('reading pictures')
    if images:
        found = photographs(cfg, stated_dataset(saved), [Path(path) for path in images])
    else:
        found = validation_samples(cfg, samples, NUMBER)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix='.inspect-') as folder:
        sheets = Path(folder, 'sheets')
        sheets.mkdir()
        for start in range(0, len(found.items), AT_ONCE):
            step(f'drawing sample {start + 1} of {len(found.items)}')
            items = found.items[start : start + AT_ONCE]
            data = model.data_preprocessor(pseudo_collate([item.data for item in items]), False)
            panels = panels_of(model, data['inputs'], data['data_samples'], hooks)
            pictures = picture(data['inputs'], model.data_preprocessor)
            for number, (item, pixels) in enumerate(zip(items, pictures)):
                title = f'{item.title}, {checkpoint.name}'
                figure = contact_sheet(panels, np.asarray(pixels), number, title, found.names)
                write_sheet(figure, sheets / item.file)
        if out.exists():
            os.replace(out, Path(folder, 'before'))
        os.replace(sheets, out)
    return [out / item.file for item in found.items]


def hooks_with_panels(cfg: Config) -> list:
    """The hooks of a config that have something to show of themselves."""
    return [
        HOOKS.build(hook)
        for hook in cfg.get('custom_hooks') or []
        if hasattr(own_class(hook.get('type')), 'panels')
    ]


def _check_out(out: Path, force: bool) -> None:
    if not out.exists():
        return
    if not force:
        raise FileExistsError(f'{out} is there already: give another folder, or --force')
    others = [path.name for path in out.iterdir() if not is_sheet(path)] if out.is_dir() else []
    if others or not out.is_dir():
        what = f'holds {others[0]}' if others else 'is a file'
        raise FileExistsError(
            f'{out} {what}, which is no sheet of this command and would be lost with --force: '
            'give another folder'
        )
