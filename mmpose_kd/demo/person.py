"""A drawn person: joints of a random pose in space, and the limbs painted over them.

Camera axes: x to the picture's right, y down, z towards the camera. Lengths are in body heights,
the projection is orthographic: it drops z. A body frame is a (3, 3) array whose rows are the
person's left, down and forward in camera axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Optional

import cv2
import numpy as np

KEYPOINTS = (
    'nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear', 'left_shoulder', 'right_shoulder',
    'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist', 'left_hip', 'right_hip',
    'left_knee', 'right_knee', 'left_ankle', 'right_ankle',
)  # fmt: skip

#: places of the face in radii of the head, in its frame
FACE = {
    'nose': (0, 0.15, 1.1), 'left_eye': (0.42, -0.15, 0.9), 'right_eye': (-0.42, -0.15, 0.9),
    'left_ear': (1.0, 0.1, -0.1), 'right_ear': (-1.0, 0.1, -0.1),
}  # fmt: skip
HEAD = 0.075  # radius
OUTLINE = 0.007

#: body parts, as they are numbered in the map of what is on top
PARTS = ('trunk', 'head', 'left_arm', 'right_arm', 'left_leg', 'right_leg')

_CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 20, endpoint=False)) for f in (np.cos, np.sin)], 1)


class Shape(NamedTuple):
    """A convex polygon of one body part: depth (larger is nearer), points (N, 2), BGR colour."""

    depth: float
    part: str
    points: np.ndarray
    colour: np.ndarray


# ------------------------------------------------------------------------------------ pose


def sample_joints(rng: np.random.Generator, yaw: Optional[float] = None) -> dict[str, np.ndarray]:
    """A random pose.

    Args:
        rng: Where random numbers come from.
        yaw: Where the person looks, in degrees: 0 to the camera, 90 to the picture's right. None:
            random, from the front more often than from behind.

    Returns:
        Points (3,) by name of the keypoint, and of ``neck``, ``head``, hands and toes; frames
        (3, 3) ``chest_frame`` and ``head_frame``.
    """
    if yaw is None:
        yaw = rng.choice((0, 180), p=(0.7, 0.3)) + rng.uniform(-60, 60)
    pelvis = _turned(np.eye(3), yaw, roll=rng.normal(0, 4))
    chest = _turned(pelvis, rng.normal(0, 8), rng.uniform(-5, 20), rng.normal(0, 6))
    head = _turned(chest, rng.normal(0, 15), rng.uniform(-8, 12))
    neck = -0.29 * chest[1]
    joints = {'chest_frame': chest, 'head_frame': head, 'neck': neck}
    joints['head'] = neck - 0.105 * head[1]
    for name, place in FACE.items():
        joints[name] = joints['head'] + HEAD * np.array(place) @ head
    for side, sign in (('left', 1), ('right', -1)):
        shoulder = neck + np.array([sign * 0.11, 0.025, 0]) @ chest
        angles = rng.uniform((-35, 5, 0), (125, 95, 110))
        elbow, wrist, along = _limb(chest, shoulder, sign, angles, (0.16, 0.14), forward=True)
        hip = np.array([sign * 0.065, 0, 0]) @ pelvis
        angles = rng.uniform((-25, 1, 0), (60, 25, 75))
        knee, ankle, shin = _limb(pelvis, hip, sign, angles, (0.235, 0.225), forward=False)
        toe = ankle + 0.06 * pelvis[2] + 0.02 * shin
        own = dict(shoulder=shoulder, elbow=elbow, wrist=wrist, hand=wrist + 0.035 * along)
        own.update(hip=hip, knee=knee, ankle=ankle, toe=toe)
        joints.update({f'{side}_{name}': point for name, point in own.items()})
    return joints


def _turned(frame: np.ndarray, yaw: float, pitch: float = 0, roll: float = 0) -> np.ndarray:
    """A frame (3, 3) turned about its own down, left and forward axis, in degrees."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians((yaw, pitch, roll))) for f in (np.cos, np.sin))
    about_down = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_left = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_forward = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return about_forward @ about_left @ about_down @ frame


def _limb(frame, start, sign, angles, lengths, forward: bool) -> tuple[np.ndarray, ...]:
    """Middle joint (3,), end (3,) and direction (3,) of the lower part of an arm or a leg.

    ``angles`` in degrees: flexion (forwards), abduction (outwards, which is ``sign`` times the
    person's left), and how far elbow (``forward``) or knee bends.
    """
    flexion, abduction, bend = np.radians(angles)
    down, out = np.cos(abduction), sign * np.sin(abduction)
    upper = np.array([out, down * np.cos(flexion), down * np.sin(flexion)])
    across = np.array([0, -np.sin(flexion), np.cos(flexion)]) * (1 if forward else -1)
    lower = np.cos(bend) * upper + np.sin(bend) * across
    middle = start + lengths[0] * upper @ frame
    return middle, middle + lengths[1] * lower @ frame, lower @ frame


# -------------------------------------------------------------------------------- drawing


def person_shapes(rng: np.random.Generator, joints: dict[str, np.ndarray]) -> list[Shape]:
    """What is painted of a person in random clothes, the farthest shape first."""
    skin = np.array((150, 185, 230)) * rng.uniform(0.35, 1.1)
    hair = np.array((40, 60, 90)) * rng.uniform(0.3, 2.2)
    shirt, trousers, shoes = rng.uniform(30, 225, (3, 3))
    sleeve, leg = (shirt, trousers) if rng.random() < 0.5 else (skin, skin)
    shapes = [*_trunk(joints, shirt, trousers), *_head(joints, skin, hair)]
    for side in ('left', 'right'):
        arm = (('shoulder', 0.034, 'elbow', 0.028, shirt), ('elbow', 0.027, 'wrist', 0.02, sleeve))
        low = (('hip', 0.056, 'knee', 0.04, trousers), ('knee', 0.038, 'ankle', 0.025, leg))
        ends = ('wrist', 0.018, 'hand', 0.022, skin), ('ankle', 0.024, 'toe', 0.02, shoes)
        for part, segments in (('arm', (*arm, ends[0])), ('leg', (*low, ends[1]))):
            for start, r, end, s, colour in segments:
                p, q = joints[f'{side}_{start}'], joints[f'{side}_{end}']
                depth = (p[2] + q[2]) / 2
                tone = np.clip(1 + 1.5 * depth, 0.65, 1.1)  # the far limb is in shadow
                shapes += _outlined(depth, f'{side}_{part}', _capsule(p, r, q, s), tone * colour)
    return sorted(shapes, key=lambda shape: shape.depth)


def _capsule(p: np.ndarray, r: float, q: np.ndarray, s: float) -> np.ndarray:
    """Hull (N, 2) of a circle of radius r about p and one of radius s about q."""
    return _hull(p[:2] + r * _CIRCLE, q[:2] + s * _CIRCLE)


def _hull(*points: np.ndarray) -> np.ndarray:
    return cv2.convexHull(np.concatenate(points).astype(np.float32))[:, 0].astype(float)


def _outlined(depth, part: str, points: np.ndarray, colour: np.ndarray) -> Iterator[Shape]:
    outwards = points - points.mean(0)
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    yield Shape(depth, part, points + OUTLINE * outwards, 0.45 * colour)
    yield Shape(depth, part, points, colour)


def _trunk(joints, shirt, trousers) -> Iterator[Shape]:
    depth = joints['neck'][2] / 2 - 0.02  # behind arms at its sides
    shoulders, hips = (
        [joints[f'{side}_{joint}'][:2] + radius * _CIRCLE for side in ('left', 'right')]
        for joint, radius in (('shoulder', 0.035), ('hip', 0.05))
    )
    waist = [0.2 * top + 0.8 * low for top, low in zip(shoulders, hips)]
    neck, head = joints['neck'], joints['head']
    yield from _outlined(depth, 'trunk', _hull(*hips), trousers)
    yield from _outlined(depth, 'trunk', _hull(*shoulders, *waist), shirt)
    yield Shape(depth, 'trunk', _capsule(neck, 0.035, 0.6 * neck + 0.4 * head, 0.03), 0.8 * shirt)


def _head(joints, skin, hair) -> Iterator[Shape]:
    """Hair and face, of which the one that looks at the camera is on top; eyes, nose, ears."""
    centre, forward = joints['head'], joints['head_frame'][2]
    depth = centre[2] + 0.02
    seen = forward[2] > 0
    skull = centre[:2] + HEAD * 1.08 * _CIRCLE
    front = (centre + 0.3 * HEAD * forward)[:2] + 0.86 * HEAD * _CIRCLE
    back = (centre - 0.3 * HEAD * forward)[:2] + 0.92 * HEAD * _CIRCLE
    yield from _outlined(depth, 'head', skull, hair if seen else skin)
    yield Shape(depth, 'head', front if seen else back, skin if seen else hair)
    for name in FACE:
        towards = (joints[name] - centre)[2] / HEAD
        radius, colour = {'nose': (0.014, 0.6 * skin)}.get(name, (0.012, np.array((30, 25, 20))))
        if name.endswith('ear'):
            radius, colour = 0.02, 0.75 * skin
        if towards > (-0.4 if name.endswith('ear') else 0.1):
            yield Shape(depth, 'head', joints[name][:2] + radius * _CIRCLE, colour)


def showing_parts(name: str) -> set[str]:
    """The parts that show a keypoint where they are on top."""
    side, _, joint = name.partition('_')
    if name in FACE:
        return {'head'}
    limb = f'{side}_{"leg" if joint in ("hip", "knee", "ankle") else "arm"}'
    return {limb, 'trunk'} if joint in ('shoulder', 'hip') else {limb}


def faces_away(name: str, joints: dict[str, np.ndarray]) -> bool:
    """Whether a keypoint of the face is on the far side of the head."""
    return name in FACE and (joints[name] - joints['head'])[2] < -0.2 * HEAD
