"""How a person is drawn: random build, clothes and hair as polygons over a skeleton.

Lengths and view axes are those of `pose.py`.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from .pose import HEAD, KEYPOINTS, LIMBS, TORSO, Pose, joint_owners, sample_pose, skeleton

# A DETAIL lies inside an earlier shape of its part, a PROP is no body.
DETAIL, PROP = -1, -2


OUTLINE = 0.006

SKINS = ((196, 214, 246), (160, 190, 232), (130, 165, 215), (90, 125, 180), (60, 88, 135),
         (45, 62, 98))  # fmt: skip

HAIRS = ((30, 28, 30), (40, 60, 92), (70, 110, 160), (110, 180, 215), (40, 75, 150),
         (165, 165, 170))  # fmt: skip


class Shape(NamedTuple):
    """A convex polygon. Points (N, 2) in statures, a larger depth is nearer, colour is BGR."""

    depth: float
    part: int
    points: np.ndarray
    colour: tuple


@dataclass
class Figure:
    """A person ready to be painted.

    Args:
        shapes: The polygons, far ones first.
        keypoints: (17, 2) in statures, in COCO order.
        owners: For each keypoint the parts that show it where they are on top; empty when the
            person's own surface hides it (the nose in a back view).
    """

    shapes: list
    keypoints: np.ndarray
    owners: list

    def bounds(self) -> tuple:
        """Left, top, right, bottom of the body, in statures."""
        points = np.concatenate([s.points for s in self.shapes if s.part >= 0])
        return *points.min(0), *points.max(0)


def colour(rng, saturation=(0.25, 0.85), value=(0.3, 0.95), hue=(0.0, 1.0)) -> tuple:
    """A random BGR colour, 0..255; the limits are HSV's, 0..1."""
    rgb = colorsys.hsv_to_rgb(rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value))
    return tuple(255 * c for c in rgb[::-1])


def shade(bgr: tuple, factor: float) -> tuple:
    """A lighter (factor > 1) or darker colour."""
    return tuple(min(255.0, c * factor) for c in bgr)


_ROUND = np.stack([f(np.linspace(0, 2 * np.pi, 20, endpoint=False)) for f in (np.cos, np.sin)], 1)

_ARC = np.linspace(0, 1, 8)


def capsule(p: np.ndarray, r: float, q: np.ndarray, s: float) -> np.ndarray:
    """Hull (N, 2) of a circle of radius r about p and one of radius s about q."""
    dx, dy = float(q[0] - p[0]), float(q[1] - p[1])
    length = math.hypot(dx, dy)
    if length <= abs(r - s) + 1e-6:
        return p[:2] + r * _ROUND if r >= s else q[:2] + s * _ROUND
    heading, tangent = math.atan2(dy, dx), math.acos((r - s) / length)
    # Complex numbers: the two arcs in few calls, as this runs a hundred times a picture.
    points = np.empty(16, complex)
    points[:8] = np.exp(1j * (heading + tangent + _ARC * (2 * math.pi - 2 * tangent))) * r
    points[8:] = np.exp(1j * (heading - tangent + _ARC * (2 * tangent))) * s
    points[:8] += complex(p[0], p[1])
    points[8:] += complex(q[0], q[1])
    return points.view(float).reshape(16, 2)


def _hull(*points: np.ndarray) -> np.ndarray:
    flat = np.concatenate([p[:, :2] for p in points]).astype(np.float32)
    return cv2.convexHull(flat)[:, 0]


class Body:
    """Clothes a skeleton with shapes: random build, clothes, hair and colours."""

    def __init__(self, rng: np.random.Generator, pose: Pose):
        self.rng, self.pose, self.shapes = rng, pose, []
        self.stout = rng.uniform(0.88, 1.2)
        self.at = skeleton(pose, width=rng.uniform(0.92, 1.12))
        self.skin = shade(SKINS[rng.integers(len(SKINS))], rng.uniform(0.92, 1.05))
        self.hair = HAIRS[rng.integers(len(HAIRS))]
        self.shirt, self.legwear = colour(rng), colour(rng, (0.1, 0.7), (0.2, 0.75))
        self.shoes = colour(rng, (0.0, 0.7), (0.15, 0.9))
        self.cut = rng.choice(('trousers', 'shorts', 'skirt'), p=(0.55, 0.27, 0.18))
        self.sleeves = rng.choice(('none', 'short', 'long'), p=(0.15, 0.45, 0.4))
        self.hairstyle = rng.choice(('short', 'long', 'bun', 'bald'), p=(0.55, 0.22, 0.13, 0.1))

    def figure(self) -> Figure:
        """Builds all shapes and keypoints."""
        if self.pose.seated:
            self._seat()
        self._torso()
        for side, (arm, leg) in LIMBS.items():
            self._leg(side, leg)
            self._arm(side, arm)
        face, face_owners = self._head()
        joints = [self.at[name][:2] for name in KEYPOINTS[5:]]
        owners = face_owners + [joint_owners(self.at, name) for name in KEYPOINTS[5:]]
        self.shapes.sort(key=lambda shape: shape.depth)
        return Figure(self.shapes, np.array(face + joints), owners)

    def _add(self, depth, part, points, bgr):
        self.shapes.append(Shape(depth, part, points, bgr))

    def _limb(self, part, p, r, q, s, bgr, depth, outline=True):
        """A tapered, outlined, shaded segment; far ones are darker."""
        r, s = r * self.stout, s * self.stout
        bgr = shade(bgr, min(max(1 + 1.6 * depth, 0.66), 1.06))
        if outline:
            self._add(depth, part, capsule(p, r + OUTLINE, q, s + OUTLINE), shade(bgr, 0.5))
        self._add(depth, DETAIL, capsule(p, r, q, s), shade(bgr, 0.82))
        lit = np.array([-0.28, -0.12, 0])
        self._add(depth, DETAIL, capsule(p + lit * r, 0.66 * r, q + lit * s, 0.66 * s), bgr)

    def _arm(self, side, part):
        shoulder, elbow, wrist, hand = (
            self.at[f'{side}_{j}'] for j in ('shoulder', 'elbow', 'wrist', 'hand')
        )
        upper = self.shirt if self.sleeves == 'long' else self.skin
        depth = (shoulder[2] + elbow[2]) / 2
        self._limb(part, shoulder, 0.033, elbow, 0.027, upper, depth)
        if self.sleeves == 'short':
            cuff = shoulder + 0.62 * (elbow - shoulder)
            self._limb(part, shoulder, 0.037, cuff, 0.036, self.shirt, depth)
        depth = (elbow[2] + wrist[2]) / 2 + 0.004
        self._limb(part, wrist, 0.014, hand, 0.021, self.skin, depth)
        self._limb(part, elbow, 0.027, wrist, 0.02, upper, depth)
        # Over the outline in the elbow, or the arm looks like two sausages.
        above = elbow + 0.3 * (shoulder - elbow)
        self._limb(part, above, 0.0288, elbow, 0.027, upper, depth, outline=False)

    def _leg(self, side, part):
        hip, knee, ankle, heel, toe = (
            self.at[f'{side}_{j}'] for j in ('hip', 'knee', 'ankle', 'heel', 'toe')
        )
        cloth = {'trousers': self.legwear, 'shorts': self.skin, 'skirt': self.skin}[self.cut]
        depth = (knee[2] + ankle[2]) / 2 - 0.008
        self._limb(part, heel, 0.023, toe, 0.019, self.shoes, depth)
        self._limb(part, knee, 0.039, ankle, 0.024, cloth, depth)
        depth = (hip[2] + knee[2]) / 2 - 0.004
        self._limb(part, hip, 0.056, knee, 0.039, cloth, depth)
        below = knee + 0.3 * (ankle - knee)
        self._limb(part, knee, 0.039, below, 0.0345, cloth, depth, outline=False)
        if self.cut == 'shorts':
            self._limb(part, hip, 0.058, hip + 0.68 * (knee - hip), 0.052, self.legwear, depth)

    def _ring(self, level: float, half_width: float, half_depth: float) -> np.ndarray:
        """Cross-section (20, 3) of the trunk; level 0 is the pelvis, 1 the chest."""
        frame = (1 - level) * self.at['pelvis_frame'] + level * self.at['chest_frame']
        centre = self.at['pelvis'] + level * (self.at['chest'] - self.at['pelvis'])
        w, d = half_width * self.stout, half_depth * self.stout
        return centre + _ROUND[:, :1] * w * frame[0] + _ROUND[:, 1:] * d * frame[2]

    def _torso(self):
        at, rng = self.at, self.rng
        depth = at['chest'][2] / 2
        forward = at['chest_frame'][2]
        shoulders = [
            capsule(at[s], 0.03, at[s], 0.03) for s in ('left_shoulder', 'right_shoulder')
        ]
        neck, chest, waist = (
            self._ring(*r) for r in ((1.07, 0.04, 0.035), (0.8, 0.108, 0.07), (0.32, 0.088, 0.062))
        )
        seat, hem = self._ring(-0.14, 0.1, 0.068), self._ring(0.06, 0.1, 0.07)
        trunk = _hull(neck, chest, *shoulders), _hull(chest, waist), _hull(waist, hem)

        def outlined(bgr, *pieces):
            for piece in pieces:
                centre = piece.mean(0)
                grown = centre + (piece - centre) * (1 + OUTLINE / 0.09)
                self._add(depth, TORSO, grown, shade(bgr, 0.5))
            for piece in pieces:
                self._add(depth, DETAIL, piece, bgr)

        outlined(self.legwear, _hull(waist, seat))
        if self.cut == 'skirt':
            hips = [at['left_hip'], at['right_hip']]
            thighs = [p + 0.62 * (at[f'{s}_knee'] - p) for s, p in zip(LIMBS, hips)]
            wide = 0.062 * self.stout  # covers the thighs, or raised ones show above the skirt
            skirt = _hull(seat, *(capsule(p, wide, q, wide) for p, q in zip(hips, thighs)))
            front = max(p[2] for p in hips + thighs) + 0.01
            self._add(front, TORSO, skirt + np.sign(skirt - skirt.mean(0)) * OUTLINE,
                      shade(self.legwear, 0.5))  # fmt: skip
            self._add(front, DETAIL, skirt, self.legwear)
        nape = 0.65 * at['neck'] + 0.35 * at['head']
        behind = min(depth, at['head'][2] + 0.02) - 0.001  # the shirt and the hair fall over it
        self._limb(TORSO, at['chest'], 0.032, nape, 0.03, shade(self.skin, 0.9), behind)
        outlined(self.shirt, *trunk)
        lit = np.array([-0.012, -0.006])
        for piece in trunk[:2]:
            centre = piece.mean(0)
            smaller = centre + (piece - centre) * 0.78 + lit
            self._add(depth, DETAIL, smaller, shade(self.shirt, 1.1))
        self._pattern(depth)
        if forward[2] > 0.1:  # an open collar and buttons tell the front
            top = at['chest'] - 0.012 * at['chest_frame'][1] + 0.035 * forward
            self._add(depth, DETAIL, capsule(top, 0.026, top + 0.04 * at['chest_frame'][1], 0.008),
                      self.skin)  # fmt: skip
            for level in (0.75, 0.55, 0.35) if rng.random() < 0.5 else ():
                spot = self._ring(level, 0.09, 0.066)[5]
                self._add(depth, DETAIL, spot[:2] + 0.008 * _ROUND, shade(self.shirt, 0.45))
        elif rng.random() < 0.3:  # a backpack
            bag = colour(rng)
            away = at['chest'] - 0.09 * forward + 0.09 * at['chest_frame'][1]
            low = away + 0.1 * at['chest_frame'][1]
            self._limb(TORSO, away, 0.07, low, 0.075, bag, depth - 0.1 * forward[2])

    def _pattern(self, depth):
        """Stripes round the shirt, on some shirts."""
        if self.rng.random() < 0.65:
            return
        bgr, levels = colour(self.rng, (0, 0.6), (0.4, 1)), self.rng.integers(1, 5)
        for level in np.linspace(0.2, 0.72, levels):
            halves = []
            for edge in (level, level + 0.07):
                ring = self._ring(edge, 0.086 + 0.02 * edge, 0.06)
                halves.append(ring[ring[:, 2] >= ring[:, 2].mean()])
            self._add(depth, DETAIL, _hull(*halves), bgr)

    def _head(self) -> tuple:
        """Adds the head; returns the five face keypoints (2,) and their owners."""
        rng, frame, centre = self.rng, self.at['head_frame'], self.at['head']
        radii = np.array([0.07, 0.088, 0.078]) * rng.uniform(0.94, 1.06)
        depth = centre[2] + 0.02
        bald, long = self.hairstyle == 'bald', self.hairstyle == 'long'

        def place(q):  # a point of the unit ball (left, down, forward) in view axes
            return centre + (np.asarray(q) * radii) @ frame

        def toward(q):  # how much the ball's surface at q looks at the viewer, -1..1
            return float(np.asarray(q) @ frame[:, 2]) / np.linalg.norm(q)

        def outline(scale):  # of the whole ellipsoid
            spread = (scale * radii[:, None] * frame)[:, :2]
            return centre[:2] + _ROUND @ np.linalg.cholesky(spread.T @ spread).T

        def patch(axis, angle, scale):  # the visible part of a cap; convex if it fits its hull
            axis = np.asarray(axis) / np.linalg.norm(axis)
            u = np.cross(axis, (0.31, 0.52, 0.79))
            u /= np.linalg.norm(u)
            rim = _ROUND @ np.stack([u, np.cross(axis, u)]) * np.sin(angle) + axis * np.cos(angle)
            edge = _ROUND @ frame[:, :2].T  # of the visible half
            points = np.concatenate(
                [rim[rim @ frame[:, 2] > 0], edge[edge @ axis > np.cos(angle)]]
            )
            return _hull(place(points * scale)) if len(points) > 2 else None

        def dot(q, radius, bgr, part=DETAIL, at_depth=depth):
            self._add(at_depth, part, place(q)[:2] + radius * _ROUND, bgr)

        dark = shade(self.skin if bald else self.hair, 0.5)
        if long:
            trunk = self.at['chest'][2] / 2  # the hair falls behind or over it
            back = min(depth, trunk) - 0.02 if frame[2, 2] > -0.1 else max(depth, trunk) + 0.02
            drop = place((0, 1.55, -0.75))
            self._limb(HEAD, place((0, -0.1, -0.2)), 0.075, drop, 0.06, self.hair, back)
        if self.hairstyle == 'bun':
            bun = depth - 0.01 * np.sign(frame[2, 2])
            knot = place((0, -0.75, -1.0))
            self._limb(HEAD, knot, 0.032, knot, 0.032, self.hair, bun)
        ears = ((1.03, 0.12, -0.08), (-1.03, 0.12, -0.08))
        for ear in ears:
            if not long and toward(ear) < 0.0:
                dot(ear, 0.018 + OUTLINE / 2, shade(self.skin, 0.5), HEAD)
                dot(ear, 0.018, shade(self.skin, 0.88))
        scale = 1.0 if bald else 1.06
        self._add(depth, HEAD, outline(scale + OUTLINE / 0.08), dark)
        # Of face and hair the one that looks away is a crescent, so the other one, which is
        # convex, goes on top.
        middle, angle = np.array((0, 0.5, 1)), np.radians(72)
        below, above, cap = self.hair, self.skin, patch(middle, angle, 1.05)
        if toward(middle) < 0:
            below, above, cap = self.skin, self.hair, patch(-middle, np.pi - angle, 1.06)
        self._add(depth, DETAIL, outline(scale), self.skin if bald else below)
        if cap is not None and not bald:
            self._add(depth, DETAIL, cap, above)
        for ear in ears:
            if not long and toward(ear) >= 0.0:
                dot(ear, 0.019, shade(self.skin, 0.6))
                dot(ear, 0.015, shade(self.skin, 0.92))
        nose, eyes = (0, 0.2, 1.12), ((0.4, -0.08, 0.92), (-0.4, -0.08, 0.92))
        if toward(nose) > -0.25:
            tip = capsule(place((0, 0.0, 0.98)), 0.006, place(nose), 0.013)
            self._add(depth, HEAD, tip, shade(self.skin, 0.74))
        for eye in eyes:
            if toward(eye) > 0.1:
                dot(eye, 0.0155, (250, 250, 250))
                dot(np.array(eye) * 1.02, 0.0105, (35, 25, 20))
        mouth = (0, 0.6, 0.84)
        if toward(mouth) > 0.1:
            corners = place((0.22, 0.58, 0.82)), place((-0.22, 0.58, 0.82))
            self._add(depth, DETAIL, capsule(corners[0], 0.007, corners[1], 0.007), (70, 60, 150))
        if rng.random() < 0.18:
            hat = colour(rng)
            crown = patch((0, -1, -0.1), np.radians(66), 1.13)
            if crown is not None:
                self._add(depth, HEAD, crown, hat)
            if toward((0, -0.3, 1)) > -0.5:
                corners = [(s * x, d, f) for s in (1, -1) for x, d, f in
                           ((0.8, -0.5, 0.8), (0.5, -0.42, 1.5))]  # fmt: skip
                brim = _hull(np.array([place(q) for q in corners]))
                self._add(depth, HEAD, brim, shade(hat, 0.7))
        points = (nose, *eyes, *ears)
        least = (-0.2, 0.05, 0.05, -0.3, -0.3)
        shown = [toward(q) > low and not (long and i > 2) for i, (q, low) in
                 enumerate(zip(points, least))]  # fmt: skip
        return [place(q)[:2] for q in points], [(HEAD,) if s else () for s in shown]

    def _seat(self):
        """A stool under the pelvis, so that sitting does not look like floating."""
        bgr, floor = colour(self.rng, (0.2, 0.6), (0.3, 0.7)), self.at['left_toe'][1]
        pelvis = self.at['pelvis'] + (0, 0.06, 0)
        top = pelvis[:2] + np.array([[-0.14, 0], [0.14, 0], [0.14, 0.04], [-0.14, 0.04]])
        for x in (-0.12, 0.1):
            leg = np.array([[x, 0.03], [x + 0.025, 0.03], [x + 0.025, floor - pelvis[1]],
                            [x, floor - pelvis[1]]])  # fmt: skip
            self._add(-9.0, PROP, pelvis[:2] + leg, shade(bgr, 0.7))
        self._add(-9.0, PROP, top, bgr)


def sample_figure(rng: np.random.Generator, pose: Pose | None = None) -> Figure:
    """A random person; with `pose` the pose is given and only the looks are random."""
    return Body(rng, pose or sample_pose(rng)).figure()
