"""Pictures of drawn people with COCO keypoints: data for a demo that needs no download.

A picture depends only on (seed, split, its number), so a data set can grow or be drawn again
and keeps its pictures byte for byte.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Optional, Union

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from ..core.checks import checked_whole
from ..core.whole_files import write_whole
from .person import KEYPOINTS, PARTS, faces_away, person_shapes, sample_joints, showing_parts

# Raise it with every change of the pictures: a data set of another version is drawn again.
VERSION = 3

SPLITS = ('train', 'val')
SIZE = 128  # width and height of a picture
SCALE = 2  # painted pixels per pixel of the picture
SUBPIXEL = 4  # fractional bits of the polygons' corners
OCCLUDER = 255  # in the map of parts: something before the person

# 1-based limbs, as COCO publishes them.
SKELETON = [[16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8],
            [7, 9], [8, 10], [9, 11], [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6],
            [5, 7]]  # fmt: skip

OUR_FILES = re.compile(r'drawn_\d{6}\.jpg')


# ------------------------------------------------------------------------------- a picture


class Canvas:
    """A picture being painted, and a map of the body part that is on top at every pixel.

    Args:
        rng: Where random numbers come from.
    """

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        size = (SCALE * SIZE, SCALE * SIZE)
        coarse = rng.uniform(70, 210, 3) + rng.normal(0, 14, (6, 6, 1))
        coarse = np.clip(coarse, 0, 255).astype(np.uint8)
        self.pixels = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        self.parts = np.zeros(size, np.uint8)
        for _ in range(rng.integers(2, 7)):
            self.rectangle(rng.uniform(0, SIZE, 2), rng.uniform(3, 25, 2))

    def fill(self, points: np.ndarray, colour: np.ndarray, part: int = 0) -> None:
        """Paint a convex polygon (N, 2) given in canvas pixels."""
        corners = np.rint(points * (1 << SUBPIXEL)).astype(np.int32)
        cv2.fillConvexPoly(self.pixels, corners, colour.tolist(), cv2.LINE_AA, SUBPIXEL)
        cv2.fillConvexPoly(self.parts, corners, part, cv2.LINE_8, SUBPIXEL)

    def rectangle(self, centre: np.ndarray, half: np.ndarray, part: int = 0) -> None:
        """Paint a slanted rectangle in a random colour, in pixels of the picture."""
        angle = self.rng.normal(0, 0.3)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half @ turn + centre
        self.fill(SCALE * corners, self.rng.uniform(30, 230, 3), part)

    def add_person(self, yaw: Optional[float] = None) -> dict[str, tuple]:
        """Paint a person; returns x, y in canvas pixels and the showing parts of each keypoint."""
        rng = self.rng
        joints = sample_joints(rng, yaw)
        shapes = person_shapes(rng, joints)
        points = np.concatenate([shape.points for shape in shapes])
        low, high = points.min(0), points.max(0)
        zoom = SCALE * SIZE * rng.uniform(0.62, 0.88) / max(high - low)
        shift = SCALE * SIZE / 2 - zoom * (low + high) / 2 + rng.normal(0, 0.05 * SIZE, 2)
        for shape in shapes:
            number = 1 + PARTS.index(shape.part)
            self.fill(shape.points * zoom + shift, np.clip(shape.colour, 0, 255), number)
        numbers = {name: {1 + PARTS.index(p) for p in showing_parts(name)} for name in KEYPOINTS}
        return {
            name: (*(joints[name][:2] * zoom + shift), set() if faces_away(name, joints) else own)
            for name, own in numbers.items()
        }

    def picture(self) -> np.ndarray:
        """The finished picture (SIZE, SIZE, 3), BGR uint8, with some grain."""
        small = cv2.resize(self.pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        grain = self.rng.normal(0, self.rng.uniform(1, 7), small.shape)
        return np.clip(small + grain, 0, 255).astype(np.uint8)

    def annotation(self, placed: dict[str, tuple]) -> dict:
        """COCO's annotation, without ids, of the person whose keypoints were placed so."""
        seen = (self.parts > 0) & (self.parts < OCCLUDER)
        keypoints = []
        for x, y, parts in placed.values():
            column, row = round(x), round(y)
            if not (1 <= column < SCALE * SIZE - 1 and 1 <= row < SCALE * SIZE - 1):
                keypoints += [0, 0, 0]
                continue
            around = set(self.parts[row - 1 : row + 2, column - 1 : column + 2].ravel().tolist())
            # the centre of canvas pixel c lies at (c - 0.5) / 2 of the picture
            place = [round(float(c - 0.5) / SCALE, 2) for c in (x, y)]
            keypoints += [*place, 2 if parts & around else 1]
        x, y, width, height = (v / SCALE for v in cv2.boundingRect(seen.astype(np.uint8)))
        return {
            'category_id': 1,
            'bbox': [x, y, width, height],
            'area': float(seen.sum()) / SCALE**2,
            'iscrowd': 0,
            'num_keypoints': sum(v > 0 for v in keypoints[2::3]),
            'keypoints': keypoints,
        }


def draw_picture(seed: int, split: str, number: int) -> tuple[np.ndarray, dict]:
    """Draw one picture of one person, of whom something may be hidden.

    Args:
        seed: The data set's seed.
        split: 'train' or 'val'.
        number: Of the picture within its split.

    Returns:
        The picture (SIZE, SIZE, 3), BGR uint8, and its COCO annotation without ids.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), number])
    canvas = Canvas(rng)
    placed = canvas.add_person()
    if rng.random() < 0.25:
        canvas.rectangle(rng.uniform(0.3, 0.9, 2) * SIZE, rng.uniform(4, 14, 2), OCCLUDER)
    return canvas.picture(), canvas.annotation(placed)


# ------------------------------------------------------------------------------ a data set


def draw_dataset(
    out: Union[str, Path], train: int, val: int, seed: int = 0, progress: bool = True
) -> None:
    """Draw a data set in COCO's layout, so that `data_root=out` fits MMPose's COCO configs.

    Writes `train2017/`, `val2017/` and `annotations/person_keypoints_{train,val}2017.json`. The
    json of a split is written last: where it exists the split is complete. A split that is
    already there with the same version, seed and size is kept; another one drawn by this function
    is replaced.

    Args:
        out: The folder to fill.
        train: Number of pictures to train on.
        val: Number of pictures to validate on; none of their people is in the training pictures.
        seed: Another seed gives other pictures.
        progress: Whether to show a progress bar, on standard error.

    Raises:
        ValueError: `train` or `val` is no positive whole number or `seed` is negative.
        NotADirectoryError: `out` is a file.
        FileExistsError: `out` holds annotations that this function did not write.
    """
    out = Path(out)
    for name, value, least in (('train', train, 1), ('val', val, 1), ('seed', seed, 0)):
        checked_whole(value, f'--{name}', least=least)
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f'{out} is a file; give a folder to draw the data set in')
    sizes = {'train': train, 'val': val}
    missing = [s for s in SPLITS if not _is_complete(out, s, _info(s, sizes[s], seed))]
    for split in missing:
        _clear(out, split, sizes[split])
    for split in missing:
        _draw_split(out, split, sizes[split], seed, progress)


def _info(split: str, size: int, seed: int) -> dict:
    return {
        'description': 'People drawn by mmpose-kd make-data',
        'version': VERSION,
        'split': split,
        'pictures': size,
        'seed': seed,
    }


def _file_name(i: int) -> str:
    return f'drawn_{i:06d}.jpg'


def annotation_file(out: Path, split: str) -> Path:
    """Where a data set in COCO's layout keeps the keypoints of 'train' or 'val'."""
    return out / 'annotations' / f'person_keypoints_{split}2017.json'


def _is_complete(out: Path, split: str, info: dict) -> bool:
    """Whether the split is there as `info` describes it; refuses somebody else's data."""
    file, folder = annotation_file(out, split), out / f'{split}2017'
    if not file.exists():
        return False
    try:
        found = json.loads(file.read_bytes())['info']
        ours = found['description'] == info['description']
    except (ValueError, KeyError, TypeError, RecursionError):
        ours = False
    if not ours:  # perhaps the real COCO
        raise FileExistsError(
            f'{file} was not made by mmpose-kd make-data, so it is left alone; '
            'give another folder to draw the data set in'
        )
    return found == info and all(
        (folder / _file_name(i)).is_file() for i in range(info['pictures'])
    )


def _clear(out: Path, split: str, size: int) -> None:
    """Remove what a new drawing would contradict: the json, and pictures beyond `size`."""
    annotation_file(out, split).unlink(missing_ok=True)
    folder = out / f'{split}2017'
    folder.mkdir(parents=True, exist_ok=True)
    annotation_file(out, split).parent.mkdir(parents=True, exist_ok=True)
    wanted = {_file_name(i) for i in range(size)}
    for path in folder.iterdir():
        if OUR_FILES.fullmatch(path.name) and path.name not in wanted:
            path.unlink()


def _draw_split(out: Path, split: str, size: int, seed: int, progress: bool) -> None:
    images, annotations = [], []
    console = Console(stderr=True)
    for i in track(range(size), f'drawing {split}2017', console=console, disable=not progress):
        picture, annotation = draw_picture(seed, split, i)
        # Ids do not meet across the splits, so that the two jsons may be joined.
        number = 10_000_000 * SPLITS.index(split) + i + 1
        images.append({'id': number, 'file_name': _file_name(i), 'width': SIZE, 'height': SIZE})
        annotations.append({'id': number, 'image_id': number, **annotation})
        jpeg = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        write_whole(
            out / f'{split}2017' / _file_name(i),
            lambda path, jpeg=jpeg: path.write_bytes(jpeg.tobytes()),
        )
    category = {'id': 1, 'name': 'person', 'supercategory': 'person',
                'keypoints': list(KEYPOINTS), 'skeleton': SKELETON}  # fmt: skip
    content = {
        'info': _info(split, size, seed),
        'licenses': [],
        'images': images,
        'annotations': annotations,
        'categories': [category],
    }
    write_whole(annotation_file(out, split), lambda path: path.write_text(json.dumps(content)))
