"""A user's data set in COCO's keypoint format: found, checked, and a part of its persons taken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from mmpose.datasets import CocoDataset
from mmpose.datasets.datasets.utils import parse_pose_metainfo

from ..core.checks import is_number, is_whole
from ..core.facts import flip_problem
from ..gain.files import write_json
from ..gain.subset import is_person
from .metainfo import DataError, numbered, read_annotations, write_dataset_info

SPLITS = ('train', 'val')
#: where the annotations and the pictures of a split may lie
ANNOTATIONS = (
    '{split}.json', 'annotations/{split}.json', 'annotations/person_keypoints_{split}2017.json',
)  # fmt: skip
IMAGES = ('images', 'images/{split}', '{split}2017', '{split}', '.')
METAINFO = 'metainfo.py'


@dataclass(frozen=True)
class Data:
    """A data set that the demo can train on.

    Attributes:
        annotations: COCO file of each split, ``'train'`` and ``'val'``.
        images: Folder of its pictures.
        keypoints: Their names.
        metainfo: MMPose's ``dataset_info``; None for COCO's keypoints.
        flips: Whether it is known which keypoints change places in a mirror.
    """

    annotations: dict[str, Path]
    images: dict[str, Path]
    keypoints: tuple[str, ...]
    metainfo: Optional[Path]
    flips: bool

    def meta(self) -> dict:
        """What MMPose's data sets know of the keypoints: ``skeleton_links``, ``sigmas``, ..."""
        if self.metainfo is None:
            return parse_pose_metainfo(CocoDataset.METAINFO)
        return parse_pose_metainfo(dict(from_file=str(self.metainfo)))


def prepare(source: Path, out: Path, persons: dict[str, int]) -> Data:
    """Check a data set, and write the annotations of the persons to use.

    Args:
        source: Its folder: ``train.json`` and ``val.json`` there or in ``annotations``, pictures
            in ``images`` (see :data:`ANNOTATIONS` and :data:`IMAGES` for what else is found),
            and perhaps ``metainfo.py`` with MMPose's ``dataset_info``.
        out: Folder for the annotations. It stays free of pictures.
        persons: How many to take of each split at most, evenly from the first to the last.

    Raises:
        DataError: Something of it is missing or wrong.
    """
    if not source.is_dir():
        raise DataError(f'--data {source}: there is no such folder')
    files = {_annotation_file(source, split).resolve() for split in SPLITS}
    written = {(out / f'{split}.json').resolve() for split in SPLITS}
    if files & written or source.resolve() == out.resolve():
        raise DataError(
            f'--out {out.parent}: chosen annotations are written to {out}, which is that of '
            f'--data {source}: give another folder'
        )
    read = {split: read_annotations(_annotation_file(source, split)) for split in SPLITS}
    categories = [category for content in read.values() for category in content['categories']]
    if len({tuple(c['keypoints']) for c in categories}) > 1:
        raise DataError(f'--data {source}: its categories have different keypoints; give one kind')
    names = tuple(categories[0]['keypoints'])

    annotations, images = {}, {}
    for split, content in read.items():
        file = _annotation_file(source, split)
        chosen = _chosen(content, len(names), persons[split], file)
        images[split] = _image_folder(source, split, chosen['images'])
        annotations[split] = out.absolute() / f'{split}.json'
        write_json(annotations[split], chosen)
    paths = [
        {images[split] / image['file_name'] for image in content['images']}
        for split, content in read.items()
    ]
    both = sorted(paths[0] & paths[1])
    if both:
        raise DataError(
            f'--data {source}: {len(both)} pictures are in both splits, {both[0].name} for one: '
            'take them out of train.json, or what is measured is what was trained on'
        )
    metainfo, flips = _metainfo(source, out, categories[0])
    return Data(annotations, images, names, metainfo, flips)


def _annotation_file(source: Path, split: str) -> Path:
    places = [source / place.format(split=split) for place in ANNOTATIONS]
    found = [path for path in places if path.is_file()]
    if not found:
        raise DataError(
            f'--data {source}: there is no {split}.json in it, COCO keypoint annotations: looked '
            f'for {", ".join(str(path.relative_to(source)) for path in places)}'
        )
    return found[0]


def _image_folder(source: Path, split: str, images: list[dict]) -> Path:
    """The folder that has all pictures, or most of them."""
    folders = [(source / place.format(split=split)).absolute() for place in IMAGES]
    missing = {f: [i for i in images if not (f / i['file_name']).is_file()] for f in folders}
    best = min(folders, key=lambda folder: len(missing[folder]))
    if missing[best]:
        where = 'images' if len(missing[best]) == len(images) else best.name
        raise DataError(
            f'--data {source}: {len(missing[best])} of {len(images)} pictures of the {split} '
            f'split are not there, {where}/{missing[best][0]["file_name"]} for one'
        )
    return best


def _chosen(content: dict, keypoints: int, persons: int, file: Path) -> dict:
    """The COCO file of so many persons that can be trained or tested on."""
    pictures = {image['id']: image for image in content['images']}
    usable = []
    for one in content['annotations']:
        values, box, number = one.get('keypoints'), one.get('bbox'), one.get('id')
        if not values or not box:
            continue
        if not _are_numbers(values) or not _are_numbers(box) or len(box) != 4:
            raise DataError(
                f"{file}: annotation {number}: give 'keypoints' as x, y, v, x, y, v, ..., and "
                "'bbox' as x, y, width, height, numbers in one list"
            )
        if not is_person(one) or not min(box[2:]) > 0:
            continue  # a crowd, nobody
        if len(values) != 3 * keypoints:
            raise DataError(
                f"{file}: annotation {number} has {len(values)} numbers in 'keypoints', the "
                f'category has {keypoints} names: give x, y, v for each, {3 * keypoints}'
            )
        if not is_whole(number) or one.get('image_id') not in pictures:
            raise DataError(
                f'{file}: annotation {number} has no whole number as id, or the image_id of no '
                'image'
            )
        usable.append({
            'area': 0.53 * box[2] * box[3], 'iscrowd': 0, **one,
            'num_keypoints': sum(v > 0 for v in values[2::3]),
        })  # fmt: skip
    if not usable:
        raise DataError(f'{file}: no annotation has a bbox and a labelled keypoint')
    step = max(len(usable) / persons, 1)
    chosen = [usable[int(i * step)] for i in range(min(persons, len(usable)))]
    used = {one['image_id'] for one in chosen}
    return {
        'info': {}, 'licenses': [], 'categories': content['categories'],
        'images': [image for image in content['images'] if image['id'] in used],
        'annotations': chosen,
    }  # fmt: skip


def _are_numbers(values) -> bool:
    return isinstance(values, list) and all(map(is_number, values))


# ----------------------------------------------------------------------- of the keypoints


def _metainfo(source: Path, out: Path, category: dict) -> tuple[Optional[Path], bool]:
    """The file of MMPose's ``dataset_info``, and whether pictures may be mirrored."""
    names, given = category['keypoints'], source / METAINFO
    if given.is_file():
        try:
            meta = parse_pose_metainfo(dict(from_file=str(given)))
            known = meta['keypoint_id2name']
        except Exception as error:  # it is a program
            raise DataError(f'{given} cannot be read: {type(error).__name__}: {error}') from error
        if [known[i] for i in range(len(known))] != names:
            raise DataError(f'{given} has other keypoints than the category of the annotations')
        problem = flip_problem(meta)
        if problem:
            raise DataError(f'{given}: {problem}')
        # numbered ones without any partner, as `mmpose-kd metainfo` writes them: not known
        flip, series = meta['flip_indices'], numbered(names)
        undecided = series and all(flip[names.index(name)] == names.index(name) for name in series)
        return given.absolute(), not undecided
    coco = parse_pose_metainfo(CocoDataset.METAINFO)['keypoint_id2name']
    if names == [coco[i] for i in range(len(coco))]:
        return None, True
    file = out.absolute() / METAINFO
    write_dataset_info(category, file)
    return file, not numbered(names)
