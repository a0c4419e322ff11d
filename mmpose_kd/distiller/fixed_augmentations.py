"""Augmentations that come back exactly, so that what was computed for them can be kept."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from typing import Optional

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.structures import BaseDataElement
from mmpose.registry import TRANSFORMS

from ..core.checks import built_by, checked_dicts, checked_whole, refusal
from ..core.random_state import (
    digest,
    random_states,
    random_states_kept,
    seed_libraries,
    set_random_states,
)

# a step with random numbers of its own is often idle (prob=0.1): one look is not enough
CHECKED_CALLS = 8


@TRANSFORMS.register_module()
class FixedAugmentations(BaseTransform):
    """A fixed number of augmentations for each person, in the place of endless ones.

    Each call draws one of ``variants`` with the ordinary random numbers, and runs the inner
    steps with random numbers that depend on ``seed``, the person, the variant and the inner
    steps' settings only: the same variant gives the same picture in every epoch, run, process
    and order of the data. Outside the random state goes on as if only the variant had been
    drawn. The steps must take their random numbers from ``random``, ``numpy.random``, torch's
    CPU generator, or albumentations; the first calls in a process are made twice to see whether
    they do.

    Args:
        transforms (list[dict]): The random steps of the pipeline and all between them:
            ``RandomFlip``, ``RandomHalfBody``, ``RandomBBoxTransform``, ``TopdownAffine``.
        variants (int): Augmentations for each person.
        seed (int): Other seeds give other augmentations.

    Raises:
        ValueError: A setting that cannot be used.
    """

    def __init__(self, transforms: Sequence[dict], variants: int = 4, seed: int = 0):
        super().__init__()
        key = 'FixedAugmentations'
        self.variants = checked_whole(variants, f'{key}.variants', least=1, most=10**6)
        self.seed = checked_whole(seed, f'{key}.seed')
        if not checked_dicts(transforms, f'{key}.transforms'):
            give = 'give the random steps of the pipeline, like [dict(type="RandomFlip"), ...]'
            raise refusal(f'{key}.transforms', transforms, give)
        self.settings = [copy.deepcopy(step) for step in transforms]
        self.settings_text = json.dumps(self.settings, sort_keys=True, default=repr)
        self.steps = [
            built_by(TRANSFORMS, step, f'{key}.transforms[{i}]')
            for i, step in enumerate(transforms)
        ]
        self.still_to_check = CHECKED_CALLS

    def transform(self, results: dict) -> Optional[dict]:
        """Run the inner steps, and add ``results['augmentation']``.

        That is a pair: a name of the person under this transform's seed and steps, so that
        another stage of the training with other ones has other names, and the variant's number.

        Args:
            results: A top-down sample with its picture.

        Returns:
            The sample, or None if a step gave it up.

        Raises:
            ValueError: The sample does not say which picture it is, a step gives something else
                for the same random numbers, or this transform stands twice in the pipeline.
        """
        if 'augmentation' in results:
            raise ValueError(
                'FixedAugmentations stands twice in the pipeline: give all random steps to one'
            )
        variant = int(np.random.randint(self.variants))
        person = person_key(results)
        seed = digest(self.seed, person, variant, self.settings_text)
        with random_states_kept(seed):
            check = self.still_to_check > 0
            self.still_to_check -= int(check)
            for step in self.steps:
                run = self._run_twice if check else _run
                results = run(step, results, seed)
                if results is None:
                    return None
        return {
            **results,
            'augmentation': (digest(self.seed, person, self.settings_text), variant),
        }

    def _run_twice(self, step, results: dict, seed: str) -> Optional[dict]:
        again = {k: v if k == 'dataset' else copy.deepcopy(v) for k, v in results.items()}
        states = random_states()
        first = _run(step, results, seed)
        set_random_states(states)
        second = _run(step, again, seed)
        if not _same(first, second):
            number = self.steps.index(step)
            raise ValueError(
                f'FixedAugmentations.transforms[{number}]={self.settings[number]!r} gives another '
                'picture for the same random numbers, so it has random numbers of its own and '
                'cannot be replayed: leave it out, or use a step that draws from numpy.random'
            )
        return first

    @staticmethod
    def plain(cfg: dict) -> list[dict]:
        """What stands in an exported config: the inner steps."""
        return list(cfg['transforms'])


def person_key(results: dict) -> str:
    """A person's name, independent of the machine and of the order of the data.

    Made of data set, picture, box and keypoints as annotated. Not of the path's folders, which
    differ between machines, nor of ``id``, which in MPII is a place in the list.

    Raises:
        ValueError: Neither ``img_id`` nor ``img_path`` is there.
    """
    if results.get('img_id') is None and results.get('img_path') is None:
        raise ValueError(
            'FixedAugmentations: the sample has neither img_id nor img_path, so there is nothing '
            'to know its picture by; the dataset must give one of them'
        )
    annotated = (np.asarray(results.get(k, ()), np.float32) for k in ('bbox', 'keypoints'))
    return digest(
        results.get('dataset_name'),
        results.get('img_id'),
        os.path.basename(str(results.get('img_path', ''))),
        *(values.tolist() for values in annotated),
    )


def _run(step, results: dict, seed: str) -> Optional[dict]:
    seed_libraries(step, seed)
    return step(results)


def _same(a: Optional[dict], b: Optional[dict]) -> bool:
    """Whether two results have the same arrays, and views the same pictures."""
    if a is None or b is None:
        return a is b
    one, two = _arrays(a), _arrays(b)
    return one.keys() == two.keys() and all(_equal(one[k], two[k]) for k in one)


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are the same; NaN, as broken annotations have it, is like itself."""
    return np.array_equal(a, b, equal_nan=a.dtype.kind in 'fc' and b.dtype.kind in 'fc')


def _arrays(results: dict) -> dict[str, np.ndarray]:
    found = {k: v for k, v in results.items() if isinstance(v, np.ndarray)}
    for name, view in results.get('views', {}).items():
        if isinstance(view, BaseDataElement):
            found[f'view_{name}'] = view.img.numpy()
    return found
