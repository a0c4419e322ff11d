"""Pictures of drawn people with COCO keypoints: data for a demo that needs no download.

A picture depends only on (seed, split, its number), so a data set can grow or be drawn again
and keeps its pictures byte for byte.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..core.checks import checked_whole
from ..core.whole_files import write_whole
from .pose import KEYPOINTS
from .scene import SPLITS, draw_picture

# Raise it with every change of the pictures: a data set of another version is drawn again.
VERSION = 2

# 1-based limbs, as COCO publishes them.
SKELETON = [[16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8],
            [7, 9], [8, 10], [9, 11], [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6],
            [5, 7]]  # fmt: skip

OUR_FILES = re.compile(r'drawn_\d{6}\.jpg')


def draw_dataset(
    out: str | Path, train: int, val: int, seed: int = 0, progress: bool = True
) -> None:
    """Draws a data set in COCO's layout, so that `data_root=out` fits MMPose's COCO configs.

    Writes `train2017/`, `val2017/` and `annotations/person_keypoints_{train,val}2017.json`. The
    json of a split is written last: where it exists the split is complete. A split that is
    already there with the same version, seed and size is kept; another one drawn by this function
    is replaced.

    Args:
        out: The folder to fill.
        train: Number of pictures to train on.
        val: Number of pictures to validate on; none of their people is in the training pictures.
        seed: Another seed gives other pictures.
        progress: Whether to show a progress bar.

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
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, disable=not progress) as bar:
        for split in missing:
            task = bar.add_task(f'drawing {split}2017', total=sizes[split])
            _draw_split(out, split, sizes[split], seed, lambda t=task: bar.advance(t))


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
    """Removes what a new drawing would contradict: the json, and pictures beyond `size`."""
    annotation_file(out, split).unlink(missing_ok=True)
    folder = out / f'{split}2017'
    folder.mkdir(parents=True, exist_ok=True)
    annotation_file(out, split).parent.mkdir(parents=True, exist_ok=True)
    wanted = {_file_name(i) for i in range(size)}
    for path in folder.iterdir():
        if OUR_FILES.fullmatch(path.name) and path.name not in wanted:
            path.unlink()


def _draw_split(out: Path, split: str, size: int, seed: int, advance) -> None:
    images, annotations = [], []
    for i in range(size):
        picture, people = draw_picture(seed, split, i)
        height, width = picture.shape[:2]
        # Ids do not meet across the splits, so that the two jsons may be joined.
        image_id = 10_000_000 * SPLITS.index(split) + i + 1
        images.append({'id': image_id, 'file_name': _file_name(i), 'width': width,
                       'height': height})  # fmt: skip
        for k, person in enumerate(people):
            annotations.append({'id': 10 * image_id + k, 'image_id': image_id, **person})
        jpeg = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        write_whole(
            out / f'{split}2017' / _file_name(i),
            lambda path, jpeg=jpeg: path.write_bytes(jpeg.tobytes()),
        )
        advance()
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
