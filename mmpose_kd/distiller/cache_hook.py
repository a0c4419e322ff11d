"""Teachers that run once for each augmented picture, not once an epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpose.registry import HOOKS

from ..core.checks import checked_path
from ..core.random_state import random_states_kept
from ..core.runner import check_hooks, unwrapped
from .cache import HOOK, TeacherCache, checked_settings

PIPELINE = 'train_dataloader.dataset.pipeline'

# where the data lies; what is in it is told by checksums
PLACES = ('data_root', 'ann_file', 'data_prefix')


@HOOKS.register_module()
class TeacherCacheHook(Hook):
    """Keep the outputs of a :class:`PoseDistiller`'s teachers on disk.

    The training pipeline needs :class:`FixedAugmentations` around its random steps, and
    :class:`PackPoseViews` last. See :class:`TeacherCache` for what is stored. A teacher that is
    not run in training, as only its head is used (:class:`ThroughTeacherHead`) or the weight is
    0, gets no file; the log says so.

    Args:
        path (str): Folder of the files ``teacher<i>.sqlite``; made if missing.
        store (str): ``'float16'``, or ``'regions'``, which keeps of keypoint maps only what is
            about each peak.
        region_size (int): Height and width of the regions in pixels of the map.
        max_gb (float, optional): Largest size of each file in GB (10^9 bytes).

    Raises:
        ValueError: A setting out of its range.
    """

    keeps_files = True  # so a dry run goes without it

    def __init__(
        self,
        path: str,
        store: str = 'float16',
        region_size: int = 16,
        max_gb: Optional[float] = None,
    ):
        self.path = Path(checked_path(path, f'{HOOK}.path'))
        self.settings = checked_settings(store, region_size, max_gb)

    def before_run(self, runner: Runner) -> None:
        """Look at the run's hooks: see :func:`check_hooks`."""
        check_hooks(runner, self)

    def before_train(self, runner: Runner) -> None:
        """Open the caches, when the weights are loaded and the data is there.

        Raises:
            ValueError: The model has no teachers, the pipeline does not repeat its pictures, or
                a file cannot be used.
        """
        model = unwrapped(runner)
        if not getattr(model, 'teachers', ()):
            raise ValueError(f'{HOOK}: model.type={type(model).__name__} has no teachers')
        read = _what_is_read(model)
        for n in set(range(len(model.teachers))) - set(read):
            runner.logger.info(
                f'{HOOK}: model.teachers[{n}] is not cached: no entry of model.distill with a '
                'weight above 0 reads its outputs'
            )
        if not read:
            return
        if getattr(model.data_preprocessor, 'batch_augments', None):
            raise ValueError(
                f'{HOOK}: model.student.data_preprocessor.batch_augments changes the pictures '
                'after the pipeline; leave it out'
            )
        dataset, config = _data(runner)
        _check_pipeline(dataset, {model.teachers[n].view for n in read})
        of_run = {
            **_flat(PIPELINE.rpartition('.')[0], config),
            **_annotations(dataset),
            'samples': str(len(dataset)),
            **_flat(
                'model.student.data_preprocessor', model.student_config.get('data_preprocessor')
            ),
            'optim_wrapper.dtype': str(getattr(runner.optim_wrapper, 'cast_dtype', 'float32')),
        }
        for n, features in read.items():
            teacher = model.teachers[n]
            teacher.settle()
            teacher.cache = TeacherCache(
                self.path / f'teacher{n}.sqlite',
                {**of_run, **_of_teacher(teacher)},
                **self.settings,
                whole=features,
            )

    def after_train(self, runner: Runner) -> None:
        """Close the caches, and log what they were used for."""
        for teacher in unwrapped(runner).teachers:
            cache, teacher.cache = teacher.cache, None
            if cache is not None:
                cache.close()
                runner.logger.info(
                    f'{cache.path}: {cache.num_read} samples read, {cache.num_computed} computed '
                    f'by {teacher.key}, {cache.num_written} of them written'
                )


def _what_is_read(model) -> dict[int, set[str]]:
    """For each teacher that is run in training the outputs that are no keypoint maps."""
    read: dict[int, set[str]] = {}
    for entry in model.distill:
        for n, paths in entry.teacher_paths.items() if entry.weight > 0 else ():
            features = set() if entry.about_keypoints else {path.name for path in paths}
            read.setdefault(n, set()).update(features)
    return dict(sorted(read.items()))


# ------------------------------------------------------------------ the fingerprint


def _data(runner: Runner) -> tuple:
    """The training's data set and its config, without a wrapper that only seeds its samples."""
    config = (runner.cfg.get('train_dataloader') or {}).get('dataset')
    if not isinstance(config, dict):
        raise ValueError(
            f'{HOOK} needs the config of train_dataloader.dataset to know the data by; build the '
            'runner from a config'
        )
    dataset = runner.train_dataloader.dataset
    while getattr(type(dataset), 'seeds_only', False):
        dataset, config = dataset.dataset, config['dataset']
    return dataset, config


def _of_teacher(teacher) -> dict[str, str]:
    return {
        **_flat(f'{teacher.key}.config', teacher.config),
        f'{teacher.key}.view': str(teacher.view),
        f'{teacher.key}.dtype': str(teacher.dtype),
        f'weights of {teacher.key}': teacher.digest(),
    }


def _annotations(dataset) -> dict[str, str]:
    """A checksum of each annotation file, in the order of the combined data sets."""
    found = {}
    for n, path in enumerate(_annotation_files(dataset)):
        digest = hashlib.sha256()
        if Path(path).is_file():
            with open(path, 'rb') as file:
                for block in iter(lambda: file.read(2**20), b''):
                    digest.update(block)
            found[f'annotations {n}'] = digest.hexdigest()
        else:  # on a server
            found[f'annotations {n}'] = str(path)
    return found


def _annotation_files(dataset) -> Iterator[str]:
    if getattr(dataset, 'ann_file', ''):
        yield dataset.ann_file
    for inner in [*getattr(dataset, 'datasets', ()), getattr(dataset, 'dataset', None)]:
        if inner is not None:
            yield from _annotation_files(inner)


def _flat(key: str, node) -> dict[str, str]:
    """A config as texts by key, so that a difference can be named."""
    if isinstance(node, dict):
        items = [(k, v) for k, v in node.items() if k not in PLACES]
    elif isinstance(node, (list, tuple)) and any(isinstance(v, dict) for v in node):
        items = enumerate(node)
    else:
        return {key: str(list(node) if isinstance(node, tuple) else node)}
    return {name: text for k, v in items for name, text in _flat(f'{key}.{k}', v).items()}


# ------------------------------------------------------------------ the pipeline


def _check_pipeline(dataset, views: set, draws: int = 64, repetitions: int = 4) -> None:
    """Draw the first sample until variants come back, and compare what the teachers see."""
    seen: dict[tuple, tuple] = {}
    with random_states_kept():
        for _ in range(draws):
            sample = dataset[0]['data_samples']
            if 'augmentation' not in sample:
                raise ValueError(
                    f'{HOOK}: {PIPELINE} does not repeat its pictures: put its random steps into '
                    "dict(type='FixedAugmentations', transforms=[...], variants=4), and "
                    "dict(type='PackPoseViews') in the place of PackPoseInputs"
                )
            holders = [sample if v is None else sample.get(f'view_{v}') for v in views]
            pictures = tuple(getattr(holder, 'picture', None) for holder in holders)
            if tuple(sample.augmentation) in seen:
                repetitions -= 1
            if seen.setdefault(tuple(sample.augmentation), pictures) != pictures:
                raise ValueError(
                    f'{HOOK}: {PIPELINE} gives different pictures for one augmentation: a random '
                    'step stands outside FixedAugmentations; move it into '
                    'FixedAugmentations.transforms'
                )
            if repetitions == 0:
                return
