"""One picture of drawn people: background, objects and annotations.

Scenes are painted at twice the size, beside a map that says whose which part lies on top of
every pixel; the map gives boxes, areas and visibility.
"""

from __future__ import annotations

import cv2
import numpy as np

from .figure import SKINS, Figure, capsule, colour, sample_figure, shade
from .pose import PARTS

SPLITS = ('train', 'val')

SIZES = ((320, 256), (256, 320), (288, 288), (320, 288), (288, 320), (352, 256))  # width, height

OBJECT = 255  # in the map of parts: something that is no person

SCALE = 2  # painted pixels per pixel of the picture

SUBPIXEL = 4  # fractional bits of the polygons' corners


def draw_picture(seed: int, split: str, i: int) -> tuple[np.ndarray, list]:
    """Draws one picture.

    Args:
        seed: The data set's seed.
        split: 'train' or 'val'.
        i: Number of the picture within its split.

    Returns:
        tuple: The picture (height, width, 3), BGR uint8, and a list of COCO annotations without
        ids: bbox in pixels, area in square pixels, keypoints of 17 * (x, y, v).
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), i])
    width, height = SIZES[rng.integers(len(SIZES))]
    scene = Scene(rng, width, height)
    number = int(rng.choice(4, p=(0.4, 0.32, 0.18, 0.1))) + 1
    slots = (rng.permutation(number) + 0.5) / number
    tall = min(230.0, 0.8 * height)
    statures = np.sort(rng.uniform((0.62, 0.54, 0.5, 0.46)[number - 1], 1, number)) * tall
    for rank, (slot, stature) in enumerate(zip(slots, statures)):
        x = width * np.clip(slot + rng.normal(0, 0.13 / number), 0.06, 0.94)
        ground = height * (0.86 + 0.11 * (rank + 1) / number)
        if rng.random() < 0.12:  # cut off by the lower border
            ground = height + rng.uniform(0.05, 0.35) * stature
        scene.add_person(sample_figure(rng), x, ground, stature)
        if rng.random() < 0.12:
            scene.add_obstacle(x + rng.normal(0, 0.12) * stature, ground, stature)
    return scene.picture(), scene.people()


class Scene:
    """A canvas (2 height, 2 width, 3) and the map (2 height, 2 width) of the parts on top."""

    def __init__(self, rng: np.random.Generator, width: int, height: int):
        self.rng, self.width, self.height = rng, width, height
        self._furnish()
        self.owners = np.zeros((SCALE * height, SCALE * width), np.uint8)
        # Per person: keypoints (17, 2) and box (x0, y0, x1, y1) in canvas pixels, who may cover
        # each keypoint and leave it visible, area drawn in square picture pixels.
        self.placed = []

    def _fill(self, points: np.ndarray, bgr: tuple, owner: int | None = None) -> None:
        """Paints a convex polygon (N, 2) given in canvas pixels."""
        corners = np.rint(points * (1 << SUBPIXEL)).astype(np.int32)
        cv2.fillConvexPoly(self.canvas, corners, bgr, cv2.LINE_AA, SUBPIXEL)
        if owner is not None:
            cv2.fillConvexPoly(self.owners, corners, owner, cv2.LINE_8, SUBPIXEL)

    def _box(self, x0, y0, x1, y1, bgr, owner=None):
        """Paints a rectangle given in picture pixels."""
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)
        self._fill(corners * SCALE, bgr, owner)

    def _backdrop(self, hue: tuple) -> None:
        """Starts the canvas with a soft gradient and blotches: wall, sky, nothing particular."""
        rng, size = self.rng, (SCALE * self.width, SCALE * self.height)
        base = np.array(colour(rng, (0.03, 0.35), (0.45, 0.85), hue))
        corners = base * rng.uniform(0.75, 1.15, (2, 2, 1)) + rng.normal(0, 6, (2, 2, 3))
        cells = int(rng.integers(4, 48))
        blotches = rng.normal(0, rng.uniform(0.5, 6), (cells, cells, 1))
        coarse = cv2.resize(corners.astype(np.float32), (cells, cells)) + blotches
        coarse = np.clip(coarse, 0, 255).astype(np.uint8)
        self.canvas = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)

    def _furnish(self) -> None:
        """Paints a room, a street or a pattern, and clutter, behind the people."""
        rng, w, h = self.rng, self.width, self.height
        kind = rng.choice(('room', 'street', 'stripes', 'plain'), p=(0.42, 0.32, 0.13, 0.13))
        self._backdrop(hue=(0.52, 0.64) if kind == 'street' else (0.0, 1.0))
        horizon = h * rng.uniform(0.55, 0.85)
        if kind == 'stripes':
            step, bgr = rng.uniform(8, 40), colour(rng, (0.05, 0.4), (0.4, 0.9))
            slant = rng.uniform(-0.6, 0.6) * h
            for x in np.arange(-h, w + h, 2 * step):
                stripe = np.array([[x, 0], [x + step, 0], [x + step + slant, h], [x + slant, h]])
                self._fill(stripe * SCALE, bgr)
        elif kind == 'room':
            self._floor(horizon, boards=rng.random() < 0.5)
            for _ in range(rng.integers(1, 4)):
                self._furniture(rng.uniform(0, w), horizon)
        elif kind == 'street':
            for x in np.arange(rng.uniform(-60, 0), w, 75):
                if rng.random() < 0.7:
                    self._house(x, horizon, rng.uniform(45, 80))
            self._floor(horizon, boards=False)
            for _ in range(rng.integers(0, 4)):
                self._tree(rng.uniform(0, w), horizon + rng.uniform(0, 12))
        for _ in range(rng.integers(0, 4)):
            self._distractor()

    def _floor(self, top, boards):
        w, h = self.width, self.height
        bgr = colour(self.rng, (0.05, 0.35), (0.4, 0.8), (0.05, 0.42))
        self._box(0, top, w, h, bgr)
        self._box(0, top - 3, w, top, shade(bgr, 0.7))
        for x in np.linspace(-w, 2 * w, 25) if boards else ():
            board = np.array([[0.6 * x + 0.2 * w, top], [0.6 * x + 0.2 * w + 1, top], [x + 2, h],
                              [x, h]])  # fmt: skip
            self._fill(board * SCALE, shade(bgr, 0.85))

    def _furniture(self, x, floor):
        """A picture, a window, shelves, a door or a lamp."""
        rng = self.rng
        bgr = colour(rng, (0.1, 0.6), (0.25, 0.8))
        kind = rng.integers(4)
        half, tall = rng.uniform(14, 40), rng.uniform(40, 110)
        if kind == 0:
            y = rng.uniform(10, 70)
            self._box(x - half, y, x + half, y + 1.3 * half, bgr)
            inner = colour(rng, (0.05, 0.5), (0.6, 0.95))
            self._box(x - half + 4, y + 4, x + half - 4, y + 1.3 * half - 4, inner)
            self._box(x - 1.5, y, x + 1.5, y + 1.3 * half, bgr)
        elif kind == 1:
            self._box(x - half, floor - tall, x + half, floor + 5, bgr)
            for y in np.arange(floor - tall + 4, floor - 12, 24):
                self._box(x - half + 3, y, x + half - 3, y + 20, shade(bgr, 0.55))
                for left in np.arange(x - half + 4, x + half - 9, 7):
                    self._box(left, y + rng.uniform(2, 9), left + 5, y + 20, colour(rng))
        elif kind == 2:
            self._box(x - 0.7 * half, floor - 1.4 * tall, x + 0.7 * half, floor, shade(bgr, 0.7))
            self._box(x - 0.7 * half + 3, floor - 1.4 * tall + 3, x + 0.7 * half - 3, floor, bgr)
        else:
            foot, top = np.array([x, floor + 4]), np.array([x, floor - tall])
            self._fill(capsule(foot, 2, top, 2) * SCALE, shade(bgr, 0.6))
            self._fill(capsule(top, 14, top - (0, 14), 7) * SCALE, bgr)

    def _house(self, x, ground, width):
        rng = self.rng
        bgr, top = colour(rng, (0.05, 0.35), (0.4, 0.9)), ground * rng.uniform(0.1, 0.6)
        self._box(x, top, x + width, ground, bgr)
        pane = colour(rng, (0.1, 0.4), (0.3, 0.95))
        for wx in np.arange(x + 7, x + width - 12, 18):
            for wy in np.arange(top + 8, ground - 16, 24):
                self._box(wx, wy, wx + 9, wy + 13, pane)

    def _tree(self, x, ground):
        rng = self.rng
        top = np.array([x, ground - rng.uniform(35, 90)])
        self._fill(capsule(np.array([x, ground]), 5, top, 3) * SCALE, (40, 65, 95))
        green = shade((60, 130, 70), rng.uniform(0.6, 1.4))
        for _ in range(5):
            crown, r = top + rng.normal(0, 11, 2), rng.uniform(10, 20)
            self._fill(capsule(crown, r, crown, r) * SCALE, shade(green, rng.uniform(0.85, 1.15)))

    def _distractor(self):
        """A limb-like stick, a ball or a block that belongs to nobody."""
        rng = self.rng
        p = rng.uniform((0, 0), (self.width, self.height))
        bgr = SKINS[rng.integers(len(SKINS))] if rng.random() < 0.3 else colour(rng)
        kind = rng.integers(3)
        if kind == 2:
            a, b = rng.uniform(6, 22, 2)
            self._box(p[0] - a, p[1] - b, p[0] + a, p[1] + b, bgr)
            return
        q = p + (rng.normal(0, 35, 2) if kind == 0 else 0)
        r = rng.uniform(3, 7) if kind == 0 else rng.uniform(5, 14)
        self._fill(capsule(p, r + 1, q, 0.8 * r + 1) * SCALE, shade(bgr, 0.5))
        self._fill(capsule(p, r, q, 0.8 * r) * SCALE, bgr)

    def add_person(self, figure: Figure, x: float, ground: float, stature: float) -> None:
        """Paints a figure over what is there.

        Args:
            figure: The person.
            x: Where the middle of the figure comes, in picture pixels.
            ground: Where its lowest point comes, in picture pixels.
            stature: Its standing height in picture pixels.
        """
        left, top, right, bottom = figure.bounds()
        zoom = SCALE * stature
        shift = np.array([SCALE * x - zoom * (left + right) / 2, SCALE * ground - zoom * bottom])
        first = 1 + PARTS * len(self.placed)
        self._shadow(x, ground, stature * (right - left) / 2)
        for shape in figure.shapes:
            owner = {-1: None, -2: OBJECT}.get(shape.part, first + shape.part)
            self._fill(shape.points * zoom + shift, shape.colour, owner)
        x0, y0 = (int(max(v, 0)) for v in shift + zoom * np.array([left, top]) - 2)
        x1, y1 = (int(max(v, 0)) for v in shift + zoom * np.array([right, bottom]) + 3)
        body = self.owners[y0:y1, x0:x1]
        body = ((body >= first) & (body < first + PARTS)).astype(np.uint8)
        bx, by, bw, bh = cv2.boundingRect(body)
        box = (x0 + bx, y0 + by, x0 + bx + bw, y0 + by + bh)
        owners = [[first + part for part in parts] for parts in figure.owners]
        self.placed.append((figure.keypoints * zoom + shift, owners, box, body.sum() / SCALE**2))

    def _shadow(self, x, ground, half):
        y0, y1 = int(SCALE * (ground - 7)), int(SCALE * (ground + 4))
        x0, x1 = int(max(SCALE * (x - half), 0)), int(SCALE * (x + half))
        strip = self.canvas[max(y0, 0) : max(y1, 0), x0 : max(x1, 0)]
        if strip.size == 0:
            return
        mask = np.zeros(strip.shape[:2], np.uint8)
        centre = (strip.shape[1] // 2, strip.shape[0] // 2)
        cv2.ellipse(mask, centre, centre, 0, 0, 360, 255, -1)
        strip[mask > 0] = strip[mask > 0] * 0.72

    def add_obstacle(self, x: float, ground: float, stature: float) -> None:
        """Paints a box, a post or a bush in front of the people so far (picture pixels)."""
        rng = self.rng
        bgr, kind = colour(rng, (0.1, 0.7), (0.25, 0.8)), rng.integers(3)
        base = ground + 3
        if kind == 0:
            half, tall = rng.uniform(0.1, 0.22) * stature, rng.uniform(0.15, 0.34) * stature
            self._box(x - half, base - tall, x + half, base, shade(bgr, 0.55), OBJECT)
            self._box(x - half + 2, base - tall + 2, x + half - 2, base - 2, bgr, OBJECT)
            self._box(x - half, base - tall, x + half, base - 0.82 * tall, shade(bgr, 1.2), OBJECT)
        elif kind == 1:
            half = rng.uniform(2, 5)
            self._box(x - half - 1, -1, x + half + 1, base, shade(bgr, 0.5), OBJECT)
            self._box(x - half, -1, x + half, base, bgr, OBJECT)
        else:
            green = shade((60, 130, 70), rng.uniform(0.6, 1.3))
            for _ in range(9):
                r = rng.uniform(0.04, 0.08) * stature
                p = np.array([x, base - r]) + rng.normal(0, 1, 2) * (0.1, 0.035) * stature
                tone = shade(green, rng.uniform(0.8, 1.2))
                self._fill(capsule(p, r, p, r) * SCALE, tone, OBJECT)

    def picture(self) -> np.ndarray:
        """The finished picture (height, width, 3), BGR uint8, with a camera's faults."""
        rng, size = self.rng, (self.width, self.height)
        picture = cv2.resize(self.canvas, size, interpolation=cv2.INTER_AREA)
        if rng.random() < 0.25:
            picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 0.9))
        gain, offset = rng.uniform(0.9, 1.15), rng.uniform(0, 14)
        picture = cv2.convertScaleAbs(picture, alpha=gain, beta=offset)
        grain = rng.integers(0, int(rng.integers(2, 14)), picture.shape[:2], dtype=np.uint8)
        return cv2.subtract(picture, cv2.merge([grain] * 3))

    def people(self) -> list:
        """COCO annotations, without ids, of the people of whom something is left to see."""
        counts = np.bincount(self.owners[::SCALE, ::SCALE].ravel(), minlength=256)
        annotations = []
        for k, (keypoints, owners, box, drawn) in enumerate(self.placed):
            seen = int(counts[1 + PARTS * k : 1 + PARTS * (k + 1)].sum())
            if seen <= 0.05 * drawn:
                continue
            flat, labelled = [], 0
            for (x, y), shown_by in zip(keypoints, owners):
                v = self._visibility(x, y, shown_by)
                labelled += v > 0
                # The centre of canvas pixel c lies at (c - 0.5) / 2 of the picture.
                point = [round(float(c - 0.5) / SCALE, 2) for c in (x, y)] if v else [0, 0]
                flat += [*point, v]
            x0, y0, x1, y1 = (c / SCALE for c in box)
            annotations.append({
                'category_id': 1,
                'bbox': [x0, y0, x1 - x0, y1 - y0],
                'area': float(seen),
                'iscrowd': 0,
                'num_keypoints': labelled,
                'keypoints': flat,
                'segmentation': [],
            })  # fmt: skip
        return annotations

    def _visibility(self, x: float, y: float, shown_by: list) -> int:
        """COCO's v of a point on the canvas: 0 outside, 1 hidden, 2 visible."""
        height, width = self.owners.shape
        if not (0.5 <= x <= width - 1.5 and 0.5 <= y <= height - 1.5):
            return 0
        column, row = round(x), round(y)
        around = self.owners[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        return 1 if set(shown_by).isdisjoint(around.ravel().tolist()) else 2
