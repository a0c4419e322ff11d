"""Augmentations come back exactly, and leave the random numbers outside alone."""

import random

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose
from mmpose.registry import TRANSFORMS

import mmpose_kd  # noqa: F401  (registers everything)
from mmpose_kd.distiller.fixed_augmentations import person_key

from ..helpers.models import CODEC

STEPS = [
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomHalfBody', min_total_keypoints=2, min_lower_keypoints=1),
    dict(type='RandomBBoxTransform'),
    dict(type='TeacherView', input_size=(48, 64)),
    dict(type='TopdownAffine', input_size=(32, 64)),
]


@TRANSFORMS.register_module()
class OwnNoise(BaseTransform):
    """A step whose random numbers nobody outside can set."""

    def __init__(self):
        self.generator = np.random.default_rng(0)

    def transform(self, results):
        noise = self.generator.integers(0, 9, results['img'].shape, dtype=np.uint8)
        return {**results, 'img': results['img'] + noise}


@TRANSFORMS.register_module()
class LibraryNoise(OwnNoise):
    """MMPose's ``Albumentation`` with a library that can be seeded."""

    def __init__(self):
        super().__init__()
        self.aug = self

    def set_random_seed(self, seed):
        self.generator = np.random.default_rng(seed)


@TRANSFORMS.register_module()
class Failing(BaseTransform):
    """A step that draws, and fails."""

    def transform(self, results):
        np.random.rand(3), random.random(), torch.rand(3)
        raise OSError('no picture')


BOXED = [STEPS[0], dict(type='GetBBoxCenterScale'), STEPS[-1]]


def person(**changes):
    keypoints = np.array([[[60.0, 40.0], [45.0, 90.0], [75.0, 95.0]]], dtype=np.float32)
    img = np.random.default_rng(0).integers(0, 256, (140, 120, 3), dtype=np.uint8)
    results = dict(
        dataset_name='drawn',
        img_id=7,
        img_path='/data/a/train/000007.jpg',
        id=3,
        img=cv2.blur(img, (5, 5)),
        img_shape=img.shape[:2],
        bbox=np.array([[30.0, 20.0, 90.0, 120.0]], dtype=np.float32),
        bbox_score=np.ones(1, dtype=np.float32),
        keypoints=keypoints,
        keypoints_visible=np.ones((1, 3), dtype=np.float32),
        flip_indices=[0, 2, 1],
        upper_body_ids=[0],
        lower_body_ids=[1, 2],
    )
    return {**results, **changes}


def pipeline(steps=STEPS, **settings):
    fixed = dict(type='FixedAugmentations', transforms=steps, **settings)
    after = [dict(type='GenerateTarget', encoder=CODEC), dict(type='PackPoseViews')]
    return Compose([TRANSFORMS.build(s) for s in (dict(type='GetBBoxCenterScale'), fixed, *after)])


def collect(run, tries=40, **changes):
    """What comes out for each variant."""
    found = {}
    for _ in range(tries):
        out = run(person(**changes))
        found.setdefault(out['data_samples'].augmentation[1], []).append(out)
    return found


def test_a_variant_is_the_same_picture_and_targets_in_every_epoch_and_process():
    np.random.seed(1)
    one = collect(pipeline())
    np.random.seed(2)
    two = collect(pipeline())
    assert one.keys() == two.keys() == {0, 1, 2, 3}
    for variant, outs in one.items():
        first = outs[0]['data_samples']
        for out in outs[1:] + two[variant]:
            sample = out['data_samples']
            assert torch.equal(out['inputs'], outs[0]['inputs'])
            assert torch.equal(sample.view_teacher.img, first.view_teacher.img)
            assert torch.equal(sample.gt_fields.heatmaps, first.gt_fields.heatmaps)
            assert sample.picture == first.picture
            assert sample.view_teacher.picture == first.view_teacher.picture
            assert sample.augmentation == first.augmentation


def test_another_variant_seed_person_or_setting_is_another_picture():
    pictures = {v: outs[0]['data_samples'].picture for v, outs in collect(pipeline()).items()}
    assert len(set(pictures.values())) == 4
    others = [
        collect(pipeline(seed=1)),
        collect(pipeline(), img_id=8),
        collect(pipeline([*STEPS[:-1], dict(STEPS[-1], use_udp=True)])),
    ]
    for other in others:
        assert all(outs[0]['data_samples'].picture != pictures[v] for v, outs in other.items())


@pytest.mark.parametrize('step', [None, dict(type='Failing')])
def test_random_numbers_outside_are_undisturbed_also_by_an_error(step):
    run = pipeline([step] if step else STEPS)
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = random.random(), np.random.randint(4), np.random.rand(), torch.rand(1)
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    if step:
        with pytest.raises(OSError):
            run(person())
    else:
        assert run(person())['data_samples'].augmentation[1] == expected[1]
    assert (random.random(), np.random.rand(), torch.rand(1)) == (expected[0], *expected[2:])


def test_a_person_is_known_by_its_annotation_and_not_by_its_place():
    key = person_key(person())
    assert key == person_key(person(id=99, img_path='/elsewhere/train/000007.jpg'))
    for change in (
        dict(dataset_name='other'),
        dict(img_id=8),
        dict(img_path='/data/a/train/8.jpg'),
        dict(bbox=np.ones((1, 4))),
        dict(keypoints=np.ones((1, 3, 2))),
    ):
        assert person_key(person(**change)) != key
    with pytest.raises(ValueError, match='img_id nor img_path'):
        person_key(person(img_id=None, img_path=None))


def test_a_step_with_random_numbers_of_its_own_is_refused():
    run = pipeline([*STEPS, dict(type='OwnNoise')])
    with pytest.raises(ValueError, match=r"transforms\[5\]={'type': 'OwnNoise'}"):
        run(person())


def test_albumentations_own_generator_is_replayed_too():
    one, two = (collect(pipeline([*STEPS, dict(type='LibraryNoise')])) for _ in range(2))
    pictures = [{out['data_samples'].picture for out in one[v] + two[v]} for v in (0, 1, 2, 3)]
    assert [len(same) for same in pictures] == [1, 1, 1, 1] and len(set().union(*pictures)) == 4


def test_without_it_a_packed_sample_is_the_stock_one():
    steps = [dict(type='GetBBoxCenterScale'), STEPS[-1]]
    packed = [
        Compose([TRANSFORMS.build(s) for s in [*steps, dict(type=pack)]])(person())
        for pack in ('PackPoseInputs', 'PackPoseViews')
    ]
    stock, ours = (out['data_samples'] for out in packed)
    assert stock.keys() == ours.keys() and stock.metainfo_keys() == ours.metainfo_keys()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(variants=0), 'variants=0'),
        (dict(seed='a'), "seed='a'"),
        (dict(steps=[]), r'transforms=\[\]'),
    ],
)
def test_a_wrong_setting_is_told(settings, message):
    with pytest.raises(ValueError, match=message):
        pipeline(**settings)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('name', ['keypoints', 'keypoints_visible', 'bbox_score'])
def test_broken_annotations_are_not_blamed_on_a_step(name, value):
    broken = person()
    broken[name].reshape(-1)[0] = value
    fixed = TRANSFORMS.build(dict(type='FixedAugmentations', transforms=BOXED))
    with np.errstate(all='ignore'):
        assert len({fixed(dict(broken))['augmentation'][0] for _ in range(3)}) == 1


def test_a_step_with_its_own_random_numbers_is_found_in_broken_annotations_too():
    broken = person(keypoints=np.full((1, 3, 2), np.nan, np.float32))
    fixed = TRANSFORMS.build(dict(type='FixedAugmentations', transforms=[dict(type='OwnNoise')]))
    with pytest.raises(ValueError, match=r'transforms\[0\].*OwnNoise.*cannot be replayed'):
        fixed(broken)
