"""The teacher's crop shows what the student's crop shows, in its own size."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmpose.registry import TRANSFORMS
from mmpose.structures import PoseDataSample

import mmpose_kd  # noqa: F401  (registers everything)

from ..helpers.models import CODEC


def picture(flip_indices=(0, 2, 1)):
    """A picture with three bright dots at its keypoints."""
    keypoints = np.array([[[60.0, 40.0], [45.0, 90.0], [75.0, 95.0]]], dtype=np.float32)
    img = np.zeros((140, 120, 3), dtype=np.uint8)
    for x, y in keypoints[0].astype(int):
        cv2.circle(img, (int(x), int(y)), 4, (255, 255, 255), -1)
    return dict(
        img=img,
        img_shape=img.shape[:2],
        bbox=np.array([[30.0, 20.0, 90.0, 120.0]], dtype=np.float32),
        bbox_score=np.ones(1, dtype=np.float32),
        keypoints=keypoints,
        keypoints_visible=np.ones((1, 3), dtype=np.float32),
        flip_indices=list(flip_indices),
    )


def pipeline(*steps, pack='PackPoseViews', view=(96, 96)):
    views = [dict(type='TeacherView', input_size=view)] if view else []
    return Compose(
        [
            TRANSFORMS.build(step)
            for step in (
                dict(type='GetBBoxCenterScale'),
                dict(type='RandomFlip', prob=1.0),
                dict(type='RandomBBoxTransform', shift_prob=0, rotate_prob=1.0),
                *views,
                dict(type='TopdownAffine', input_size=(32, 64)),
                *steps,
                dict(type=pack),
            )
        ]
    )


def brightest(img, size, number=3):
    """Centres of the dots, as shares of width and height."""
    gray = np.asarray(img)[0] > 127
    count, _, _, centres = cv2.connectedComponentsWithStats(gray.astype(np.uint8))
    assert count == number + 1
    return centres[1:] / np.array(size)


def test_both_crops_show_the_same_augmented_person():
    np.random.seed(0)
    out = pipeline()(picture())
    sample = out['data_samples']
    view = sample.get('view_teacher')
    assert view.img.shape == (3, 96, 96)
    assert out['inputs'].shape == (3, 64, 32)
    # a square view is as high as the 1:2 crop, and twice as wide about the same centre
    assert tuple(view.input_center) == tuple(sample.input_center)
    dots = brightest(view.img, (96, 96))
    own = brightest(out['inputs'], (32, 64))
    to_picture = lambda xy, s: s.input_center + (xy - 0.5) * s.input_scale  # noqa: E731
    np.testing.assert_allclose(to_picture(dots, view), to_picture(own, sample), atol=1.5)


def test_the_students_sample_is_what_it_is_without_a_view():
    np.random.seed(0)
    plain = pipeline(pack='PackPoseInputs', view=None)(picture())
    np.random.seed(0)
    out = pipeline()(picture())
    assert torch.equal(out['inputs'], plain['inputs'])
    one, two = out['data_samples'], plain['data_samples']
    assert one.metainfo.keys() == two.metainfo.keys()
    for key in ('input_size', 'input_center', 'input_scale'):
        assert np.array_equal(one.get(key), two.get(key))
    assert set(one.keys()) - set(two.keys()) == {'view_teacher'}


def test_views_move_with_their_sample():
    sample = pipeline()(picture())['data_samples'].to('meta')
    assert isinstance(sample, PoseDataSample)
    assert sample.get('view_teacher').img.device.type == 'meta'


def test_two_views_live_side_by_side():
    steps = [
        dict(type='GetBBoxCenterScale'),
        dict(type='TeacherView', input_size=(64, 64), name='a'),
        dict(type='TeacherView', input_size=(32, 96), name='b', use_udp=True),
        dict(type='TopdownAffine', input_size=(32, 64)),
        dict(type='PackPoseViews'),
    ]
    sample = Compose([TRANSFORMS.build(s) for s in steps])(picture())['data_samples']
    assert sample.get('view_a').img.shape == (3, 64, 64)
    assert sample.get('view_b').img.shape == (3, 96, 32)


def test_a_view_after_the_crop_is_refused():
    steps = [
        dict(type='GetBBoxCenterScale'),
        dict(type='TopdownAffine', input_size=CODEC['input_size']),
        dict(type='TeacherView', input_size=(64, 64)),
    ]
    with pytest.raises(ValueError, match=r'TeacherView.*before TopdownAffine'):
        Compose([TRANSFORMS.build(s) for s in steps])(picture())
