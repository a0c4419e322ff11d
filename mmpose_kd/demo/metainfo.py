"""MMPose's ``dataset_info`` of keypoints that only a COCO file names."""

from __future__ import annotations

import json
import pprint
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from ..core.checks import is_whole
from ..core.whole_files import write_whole

SIGMA = 0.05  # of OKS, where none is known: between COCO's of an eye and of a hip


class DataError(ValueError):
    """The data set cannot be used; the message says what is missing or wrong."""


class Written(NamedTuple):
    """What a ``dataset_info`` says.

    Attributes:
        names: Of the keypoints, in their order.
        pairs: Keypoints that change places in a mirror.
        series: Whether keypoints are numbered, so that their names do not tell that.
        lacking: How many annotations lack a key that COCO's metric needs, by the key.
    """

    names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    series: bool
    lacking: dict[str, int]


def metainfo_file(annotations: Path, out: Path, force: bool = False) -> Written:
    """Write MMPose's ``dataset_info`` of a COCO file's keypoints.

    Which of them change places in a mirror is told by their names (:func:`mirrored`); every sigma
    of OKS is :data:`SIGMA`, every weight 1, as COCO files do not tell them.

    Args:
        annotations: COCO keypoint annotations.
        out: The file to write, ``.py``; written whole or not at all.
        force: Whether a file that is there already is replaced.

    Raises:
        DataError: The annotations cannot be read, have different keypoints, or a skeleton of
            others.
        FileExistsError: The file is there already.
        ValueError: ``out`` does not end in ``.py``.
    """
    if out.suffix != '.py':
        raise ValueError(f'--out {out}: give a name that ends in .py')
    if out.exists() and not force:
        raise FileExistsError(f'{out} is there already: give another file, or --force')
    if not annotations.is_file():
        raise DataError(f'{annotations}: there is no such file')
    content = read_annotations(annotations)
    categories = content['categories']
    if len({tuple(c['keypoints']) for c in categories}) > 1:
        raise DataError(f'{annotations}: its categories have different keypoints; give one kind')
    names = categories[0]['keypoints']
    write_dataset_info(categories[0], out)
    pairs = {tuple(sorted(pair, key=names.index)) for pair in mirrored(names).items()}
    ordered = sorted(pairs, key=lambda pair: names.index(pair[0]))
    series = bool(numbered(names))
    return Written(tuple(names), tuple(ordered), series, lacking_for_coco(content))


def lacking_for_coco(content: dict) -> dict[str, int]:
    """How many annotations lack what MMPose trains without and ``CocoMetric`` needs."""
    rows = content['annotations']
    counts = {key: sum(row.get(key) is None for row in rows) for key in COCO_NEEDS}
    return {key: count for key, count in counts.items() if count}


def read_annotations(file: Path) -> dict:
    """A COCO file that has pictures, annotations, and categories with keypoints.

    Raises:
        DataError: It is none.
    """
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f'{file} is no JSON file: {" ".join(str(error).split())}') from error
    for name in ('images', 'annotations', 'categories'):
        rows = content.get(name) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise DataError(f'{file} has no list of {name}: give COCO keypoint annotations')
    named = [c for c in content['categories'] if _is_texts(c.get('keypoints'))]
    if not named:
        raise DataError(f"{file}: no category has 'keypoints', the list of their names")
    for image in content['images']:
        lacking = [key for key in ('id', 'file_name', 'width', 'height') if key not in image]
        if lacking:
            raise DataError(f'{file}: an image has no {", ".join(lacking)}: {str(image)[:60]}')
        if not is_whole(image['id']) or not isinstance(image['file_name'], str):
            raise DataError(
                f'{file}: an image needs a whole number as id and a text as file_name, found '
                f'{image["id"]!r} and {image["file_name"]!r}'
            )
    for name, known in (('images', 'its pictures'), ('annotations', 'annotations')):
        ids = Counter(str(row['id']) for row in content[name] if 'id' in row)
        for one, count in ids.most_common(1):
            if count > 1:
                raise DataError(
                    f'{file}: {count} {name} have the id {one}, by which MMPose finds {known}: '
                    'give each an id of its own'
                )
    for category in named:
        names = category['keypoints']
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(
                f'{file}: keypoints are called {", ".join(twice)} twice: give each a name of its '
                'own'
            )
    return {**content, 'categories': named}


def _is_texts(names) -> bool:
    return isinstance(names, list) and bool(names) and all(isinstance(n, str) for n in names)


def write_dataset_info(category: dict, file: Path) -> None:
    """Write the ``dataset_info`` of a COCO category, whose keypoints have names.

    Raises:
        DataError: Its skeleton joins keypoints that it does not have.
    """
    names = category['keypoints']
    skeleton = category.get('skeleton') or []
    for link in skeleton if isinstance(skeleton, list) else [skeleton]:
        good = isinstance(link, list) and len(link) == 2
        if not good or not all(is_whole(n) and 1 <= n <= len(names) for n in link):
            raise DataError(
                f'categories: skeleton has {link}: give pairs (a, b) of numbers of keypoints, '
                f'1 <= a, b <= {len(names)}, or leave skeleton out (it is only drawn)'
            )
    partners = mirrored(names)
    info = dict(
        dataset_name=str(category.get('name', 'data')),
        keypoint_info={
            i: dict(name=name, id=i, color=[51, 153, 255], type='', swap=partners.get(name, ''))
            for i, name in enumerate(names)
        },
        skeleton_info={
            i: dict(link=(names[a - 1], names[b - 1]), id=i, color=[51, 153, 255])
            for i, (a, b) in enumerate(skeleton)
        },
        joint_weights=[1.0] * len(names),
        sigmas=[SIGMA] * len(names),
    )
    text = f'dataset_info = {pprint.pformat(info, sort_dicts=False)}\n'
    write_whole(file, lambda path: path.write_text(text, encoding='utf-8'))


COCO_NEEDS = ('area', 'iscrowd', 'keypoints')

#: how names tell a side, the surest first
SIDES = (
    re.compile(r'left|right|(?<![a-z])[lr](?![a-z])', re.IGNORECASE),
    re.compile(r'^[lrLR](?=[A-Z])|(?<=[a-z])[LR]$'),
    re.compile(r'^[lrLR](?=[a-z])'),
    re.compile(r'(?<=[A-Z])[LR]$|(?<=[a-z])[lr]$'),
)


def mirrored(names: Collection[str]) -> dict[str, str]:
    """For each keypoint with a side the one on the other side.

    Sides are ``left_eye``, ``eye.R``, ``l_ear``, and as one letter at an end ``LEye``, ``eyeR``,
    ``lhip``, ``FL``. Names of which the other side is not there are left out, and numbered ones:
    along a contour the mirror image of a point has another number.
    """
    sides = {'left': 'right', 'right': 'left', 'l': 'r', 'r': 'l'}

    def other(word: re.Match) -> str:
        text = word.group()
        swapped = sides[text.lower()]
        if text.isupper():
            return swapped.upper()
        return swapped.title() if text.istitle() else swapped

    found, series = {}, numbered(names)
    for name in names:
        for side in SIDES if name not in series else ():
            partner = side.sub(other, name)
            if partner != name and partner in names:
                found[name] = partner
                break
    return {name: other for name, other in found.items() if found.get(other) == name}


def numbered(names: Collection[str]) -> set[str]:
    """Keypoints that are numbered in a row, like ``jaw_0`` and ``jaw_1``; ``c7`` alone is not."""
    stems = {name: re.sub(r'\d+', '#', name) for name in names}
    rows = list(stems.values())
    return {name for name, stem in stems.items() if '#' in stem and rows.count(stem) > 1}
