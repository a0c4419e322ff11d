"""The pose of a drawn person: random joint angles and the 3-D skeleton they make.

The skeleton is three-dimensional so that left and right, near and far, front and back agree
with each other from every side. All lengths are in statures (1 = the person's standing
height). View axes: x to the picture's right, y down, z towards the viewer; the projection is
orthographic, so it drops z. A body frame is a (3, 3) array whose rows are the person's left,
down and forward directions in view axes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

KEYPOINTS = (
    'nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear', 'left_shoulder', 'right_shoulder',
    'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist', 'left_hip', 'right_hip',
    'left_knee', 'right_knee', 'left_ankle', 'right_ankle',
)  # fmt: skip


# The parts of a body that can show a keypoint.
TORSO, HEAD, LEFT_ARM, RIGHT_ARM, LEFT_LEG, RIGHT_LEG = range(6)

PARTS = 6

LIMBS = {'left': (LEFT_ARM, LEFT_LEG), 'right': (RIGHT_ARM, RIGHT_LEG)}


# Arm styles: ranges in degrees of flexion (forward), abduction (outward) and elbow bend, and the
# direction (forward, inward, up) that the bent forearm turns to.
ARMS = {
    'hanging': ((-18, 22), (4, 20), (0, 35), (1.0, 0.3, 0.0)),
    'bent': ((-15, 35), (6, 30), (60, 115), (1.0, 0.6, 0.2)),
    'on hip': ((-25, -5), (38, 58), (78, 105), (0.1, 1.0, 0.0)),
    'raised': ((-10, 15), (115, 172), (0, 70), (0.2, 0.5, 1.0)),
    'reaching': ((50, 120), (-4, 25), (0, 45), (0.0, 0.4, 1.0)),
    'sideways': ((-10, 15), (60, 105), (0, 50), (0.8, 0.2, 0.3)),
    'waving': ((-5, 25), (55, 100), (60, 115), (0.2, 0.0, 1.0)),
}

ARM_WEIGHTS = (0.3, 0.16, 0.12, 0.13, 0.1, 0.09, 0.1)

STANCES = ('standing', 'wide', 'walking', 'running', 'sitting', 'squatting', 'kicking', 'bending')

STANCE_WEIGHTS = (0.24, 0.12, 0.2, 0.12, 0.1, 0.06, 0.08, 0.08)


@dataclass
class Pose:
    """Joint angles in degrees. Pairs are (left, right); yaw 0 faces the viewer, 90 the right."""

    yaw: float
    tilt: float  # of the whole body, in the picture's plane
    camera: float  # looking down on the person
    lean: float = 0.0
    side_lean: float = 0.0
    twist: float = 0.0
    nod: float = 0.0
    head_turn: float = 0.0
    arms: list = field(default_factory=list)  # per side: flexion, abduction, elbow, direction
    legs: list = field(default_factory=list)  # per side: flexion, abduction, knee
    seated: bool = False


def sample_pose(rng: np.random.Generator) -> Pose:
    """Draws a plausible pose: a stance, an arm style for each arm, a side to look from."""
    view = rng.choice(3, p=(0.55, 0.26, 0.19))
    side = rng.choice((-1, 1))
    yaw = (rng.uniform(-40, 40), side * rng.uniform(50, 110), 180 + rng.uniform(-35, 35))[view]
    pose = Pose(
        yaw=yaw,
        tilt=rng.normal(0, 3),
        camera=rng.uniform(0, 12),
        lean=rng.uniform(-4, 8),
        side_lean=rng.normal(0, 4),
        twist=rng.normal(0, 8),
        nod=rng.uniform(-10, 18),
        head_turn=rng.normal(0, 18),
    )
    pose.arms = [_sample_arm(rng), _sample_arm(rng)]
    stance = rng.choice(STANCES, p=STANCE_WEIGHTS)
    pose.legs = [[rng.uniform(-6, 8), rng.uniform(1, 8), rng.uniform(0, 10)] for _ in range(2)]
    if stance == 'wide':
        for leg in pose.legs:
            leg[1] = rng.uniform(12, 26)
    elif stance in ('walking', 'running'):
        fast = stance == 'running'
        stride = rng.uniform(30, 50) if fast else rng.uniform(14, 32)
        pose.lean += 9 * fast
        lead = int(rng.integers(2))
        for leg, sign in ((lead, 1), (1 - lead, -1)):
            knee = rng.uniform(5, 30) if sign > 0 else rng.uniform(20, 45)
            pose.legs[leg] = [sign * stride, rng.uniform(1, 6), knee * (1.5 if fast else 1)]
            if rng.random() < 0.75:  # the arms swing against the legs
                bend = rng.uniform(70, 105) if fast else rng.uniform(5, 45)
                pose.arms[leg] = (-sign * stride * 0.9, rng.uniform(3, 15), bend, (1, 0.2, 0.1))
    elif stance == 'sitting':
        pose.seated = True
        pose.camera += 8  # from above the thighs of a front view keep some length
        spread = rng.uniform(2, 20)
        pose.legs = [[rng.uniform(75, 92), spread, rng.uniform(65, 95)] for _ in range(2)]
    elif stance == 'squatting':
        pose.lean = rng.uniform(12, 35)
        spread, flexion = rng.uniform(10, 30), rng.uniform(60, 95)
        pose.legs = [[flexion, spread, flexion + rng.uniform(10, 30)] for _ in range(2)]
    elif stance == 'kicking':
        pose.legs[rng.integers(2)] = [rng.uniform(30, 85), rng.uniform(2, 15), rng.uniform(0, 90)]
    elif stance == 'bending':
        pose.lean = rng.uniform(30, 75)
        pose.nod -= rng.uniform(10, 40)
        for i in range(2):
            flexion = pose.lean + rng.uniform(-25, 40)
            pose.arms[i] = (flexion, rng.uniform(2, 20), rng.uniform(0, 50), (0.6, 0.4, 0.6))
    return pose


def _sample_arm(rng) -> tuple:
    *ranges, direction = ARMS[rng.choice(tuple(ARMS), p=ARM_WEIGHTS)]
    return *(rng.uniform(*limits) for limits in ranges), direction


def _turned(frame: np.ndarray, yaw=0.0, pitch=0.0, roll=0.0) -> np.ndarray:
    """A (3, 3) frame turned about its own down, left and forward axis (degrees)."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians((yaw, pitch, roll))) for f in (np.cos, np.sin))
    about_down = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_left = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_forward = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return about_forward @ about_left @ about_down @ frame


def _limb_direction(frame: np.ndarray, outward: int, flexion: float, abduction: float):
    """Unit vector (3,) of an upper arm or thigh; `outward` is +1 on the left side, -1 right."""
    f, a = np.radians(flexion), np.radians(abduction)
    return np.array([outward * np.sin(a), np.cos(a) * np.cos(f), np.cos(a) * np.sin(f)]) @ frame


def _bent(direction: np.ndarray, towards: np.ndarray, degrees: float) -> np.ndarray:
    """`direction` (3,) turned towards another vector (3,) by an angle."""
    across = towards - direction * (towards @ direction)
    across /= np.linalg.norm(across) + 1e-9
    return np.cos(np.radians(degrees)) * direction + np.sin(np.radians(degrees)) * across


def skeleton(pose: Pose, width: float = 1.0) -> dict:
    """Places the joints.

    Args:
        pose: The joint angles.
        width: Factor on the shoulders' and the hips' width.

    Returns:
        dict: Points (3,) by keypoint name without the face, and pelvis, chest, neck, head,
        hands and toes; frames (3, 3) 'pelvis_frame', 'chest_frame', 'head_frame'.
    """
    down = np.radians(pose.camera)
    camera = np.array(
        [[1, 0, 0], [0, np.cos(down), -np.sin(down)], [0, np.sin(down), np.cos(down)]]
    )
    tilt = np.radians(pose.tilt)
    plane = np.array(
        [[np.cos(tilt), np.sin(tilt), 0], [-np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]]
    )
    hips = _turned(np.eye(3), yaw=pose.yaw) @ camera @ plane
    chest = _turned(hips, pose.twist, pose.lean, pose.side_lean)
    head = _turned(chest, pose.head_turn, pose.nod)
    at = {'pelvis_frame': hips, 'chest_frame': chest, 'head_frame': head, 'pelvis': np.zeros(3)}
    at['chest'] = -0.265 * chest[1]
    at['neck'] = at['chest'] - 0.035 * chest[1]
    at['head'] = at['neck'] - 0.085 * head[1] + 0.012 * head[2]
    for i, (side, outward) in enumerate((('left', 1), ('right', -1))):
        flexion, abduction, elbow, (forward, inward, up) = pose.arms[i]
        upper = _limb_direction(chest, outward, flexion, abduction)
        lower = _bent(upper, np.array([-outward * inward, -up, forward]) @ chest, elbow)
        shoulder = at['chest'] + (outward * 0.108 * width) * chest[0] + 0.018 * chest[1]
        at[f'{side}_shoulder'] = shoulder
        at[f'{side}_elbow'] = shoulder + 0.158 * upper
        at[f'{side}_wrist'] = at[f'{side}_elbow'] + 0.135 * lower
        at[f'{side}_hand'] = at[f'{side}_wrist'] + 0.03 * lower

        flexion, abduction, knee = pose.legs[i]
        thigh = _limb_direction(hips, outward, flexion, abduction)
        f = np.radians(flexion)
        shin = _bent(thigh, np.array([0, np.sin(f), -np.cos(f)]) @ hips, knee)
        at[f'{side}_hip'] = (outward * 0.062 * width) * hips[0] + 0.01 * hips[1]
        at[f'{side}_knee'] = at[f'{side}_hip'] + 0.232 * thigh
        at[f'{side}_ankle'] = at[f'{side}_knee'] + 0.222 * shin
        foot = _bent(shin, hips[2] + 0.35 * outward * hips[0], 80)
        at[f'{side}_heel'] = at[f'{side}_ankle'] + 0.02 * shin - 0.012 * foot
        at[f'{side}_toe'] = at[f'{side}_heel'] + 0.09 * foot
    return at


def joint_owners(at: dict, name: str) -> tuple:
    """The parts that show a joint of the trunk or a limb where they are on top.

    Args:
        at: The skeleton.
        name: A COCO keypoint from the shoulders downwards.
    """
    side, joint = name.split('_')
    limb = LIMBS[side][joint in ('hip', 'knee', 'ankle')]
    if joint not in ('shoulder', 'hip'):
        return (limb,)
    # The trunk shows the joints on its near side and its edges, and hides those behind it.
    centre = at['chest' if joint == 'shoulder' else 'pelvis']
    offset = at[name] - centre
    return (limb, TORSO) if offset[2] > -0.75 * np.linalg.norm(offset) else (limb,)
