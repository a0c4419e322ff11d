"""A second crop of the same augmented picture, for a teacher with another input size."""

from __future__ import annotations

import copy
import zlib
from typing import Optional

from mmcv.transforms import BaseTransform
from mmengine.structures import BaseDataElement
from mmpose.datasets.transforms import PackPoseInputs, TopdownAffine
from mmpose.datasets.transforms.formatting import image_to_tensor
from mmpose.registry import TRANSFORMS

from ..core.checks import checked_bool, checked_name, checked_names, checked_size


@TRANSFORMS.register_module()
class TeacherView(BaseTransform):
    """Crop the box for a teacher, and leave everything else as it is.

    Stands right before ``TopdownAffine``, after flip and box augmentation, so that both crops
    show the same; what changes colours after ``TopdownAffine`` the teacher does not see.
    :class:`PackPoseViews` must be the last step.

    Args:
        input_size (tuple[int, int]): Width and height of the teacher's input.
        use_udp (bool): As the teacher was trained, see ``TopdownAffine``.
        name (str): Name of the view, for the teacher's setting ``view``.

    Raises:
        ValueError: A setting that cannot be used.
    """

    def __init__(self, input_size: tuple[int, int], use_udp: bool = False, name: str = 'teacher'):
        super().__init__()
        self.name = checked_name(name, 'TeacherView.name')
        key = f'TeacherView(name={name!r})'
        self.crop = TopdownAffine(
            checked_size(input_size, f'{key}.input_size'), checked_bool(use_udp, f'{key}.use_udp')
        )

    def transform(self, results: dict) -> dict:
        """Add a view to ``results['views']``.

        Raises:
            ValueError: The picture is cropped already, or there is a view of this name.
        """
        if self.name in results.get('views', {}):
            raise ValueError(
                f'TeacherView(name={self.name!r}) stands twice in the pipeline: give each its own '
                'name, or leave one out'
            )
        if 'input_size' in results:
            raise ValueError(
                f'TeacherView(name={self.name!r}) needs the whole picture: put it before '
                'TopdownAffine in the pipeline'
            )
        geometry = ('img', 'bbox_center', 'bbox_scale', 'bbox_rotation')
        cropped = self.crop.transform({k: copy.copy(results[k]) for k in geometry if k in results})
        size = {
            'input_size': cropped['input_size'],
            # MMPose 1.1 leaves the place of the crop in the box alone.
            'input_center': cropped.get('input_center', cropped['bbox_center'][0]),
            'input_scale': cropped.get('input_scale', cropped['bbox_scale'][0]),
        }
        view = BaseDataElement(metainfo=size, img=image_to_tensor(cropped['img']))
        return {**results, 'views': {**results.get('views', {}), self.name: view}}

    @staticmethod
    def plain(cfg: dict) -> Optional[dict]:
        """What stands in an exported config: nothing."""
        return None


@TRANSFORMS.register_module()
class PackPoseViews(PackPoseInputs):
    """MMPose's ``PackPoseInputs``, which packs what this package's steps leave as well.

    Args:
        args, kwargs: ``meta_keys`` (Sequence[str]) and ``pack_transformed`` (bool), as there.

    Raises:
        ValueError: A setting that cannot be used.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        checked_names(self.meta_keys, 'PackPoseViews.meta_keys')
        checked_bool(self.pack_transformed, 'PackPoseViews.pack_transformed')

    def transform(self, results: dict) -> dict:
        """As the stock transform, and two things more.

        View ``name`` of :class:`TeacherView` is in the sample as ``view_<name>``. After
        :class:`FixedAugmentations` the sample's metainfo has ``augmentation``, a pair of a
        name and the variant, and its own and each view's metainfo have ``picture``, a checksum
        of the pixels.
        """
        packed = super().transform(results)
        sample, views = packed['data_samples'], results.get('views', {})
        for name, view in views.items():
            sample.set_data({f'view_{name}': view})
        if 'augmentation' in results:
            sample.set_metainfo({'augmentation': results['augmentation']})
            for holder, img in [(sample, packed['inputs']), *((v, v.img) for v in views.values())]:
                holder.set_metainfo({'picture': zlib.crc32(img.contiguous().numpy())})
        return packed

    @staticmethod
    def plain(cfg: dict) -> Optional[dict]:
        """What stands in an exported config: the stock transform."""
        return {**cfg, 'type': 'PackPoseInputs'}
