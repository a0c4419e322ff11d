"""A frozen model that is read, and never changed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Optional, Union

import numpy as np
import torch
from mmengine.logging import print_log
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..core.capture import OutputPath, capture, captured_output
from ..core.checkpoints import CheckpointError, read_checkpoint
from ..core.checks import (
    built_by,
    check_keypoint_count,
    checked_bool,
    checked_name,
    checked_path,
    is_list,
    is_whole,
    refusal,
)
from ..core.facts import (
    keypoint_differences,
    keypoint_names,
    preprocessor_differences,
    stated_config,
    stated_dataset,
    stated_preprocessor,
)
from ..core.finite import check_outputs, check_weights
from ..core.head_output import (
    head_kind,
    input_place,
    num_keypoints,
    read_output,
    taught_weights,
)
from ..core.panels import Panel, panel_of
from ..core.weights import state_of
from .cache import CacheKey, TeacherCache
from .label_check import LabelCheck
from .model_config import model_config
from .precision import FrozenPrecision, constant, widen_before_head


class Teacher:
    """A stock model with weights that stay as they are.

    It is no submodule of the distiller: ``train()``, the optimiser, EMA and checkpoints cannot
    reach it; a copy of the distiller shares it.

    Args:
        config: See :func:`model_config`.
        checkpoint: File or address of its weights: published ones, or a checkpoint of its own
            training. They must fit strictly. An explicit None leaves it untrained, for trials.
        keypoints: For each keypoint of the student the teacher's number of it, from 0; -1 for
            one that the teacher does not have, which it then does not teach. None: the same
            keypoints in the same order.
        view: Name of the ``TeacherView`` in the training pipeline which makes its images. None:
            the student's images.
        dtype: ``'auto'``: on a GPU in half precision (bfloat16, on old ones float16), elsewhere
            as the student runs. ``'float32'`` runs it in full precision, ``'float16'`` or
            ``'bfloat16'`` in half, whatever device and optimiser wrapper are. None: as the
            student runs. See :class:`FrozenPrecision`.
        channels_last: Whether it runs in this memory format. None: on a GPU.
        check_labels: Whether the training stops in its first steps if the teacher finds fewer
            keypoints than their mean places do: see :class:`LabelCheck`. A teacher without a
            checkpoint is not looked at.
        key: Name of the config key, for messages.

    Raises:
        ValueError: A setting that cannot be used.
    """

    def __init__(
        self,
        config: Union[str, dict],
        checkpoint: Optional[str],
        keypoints: Optional[Sequence[int]] = None,
        view: Optional[str] = None,
        dtype: Optional[str] = 'auto',
        channels_last: Optional[bool] = None,
        check_labels: bool = True,
        key: str = 'teachers[0]',
    ):
        self.key = key
        self.checkpoint = checked_path(checkpoint, f'{key}.checkpoint', optional=True)
        self.view = checked_name(view, f'{key}.view', optional=True)
        self.precision = FrozenPrecision(dtype, channels_last, key)
        check_labels = checked_bool(check_labels, f'{key}.check_labels')
        self.label_check = LabelCheck(key) if check_labels and checkpoint is not None else None
        self.config = model_config(config, f'{key}.config')
        self.model: nn.Module = built_by(MODELS, self.config, f'{key}.config')
        self.model.requires_grad_(False)
        self.model.eval()
        self.precision.cast(self.model)
        widen_before_head(self.model)
        self.dataset_meta: dict = {}
        self.ready = False
        self._digest: Optional[str] = None  # of the weights before they were cast on a device
        self._seen: set[str] = set()  # outputs that were looked at
        self._compared: Optional[tuple[nn.Module, bool]] = None
        self.cache: Optional[TeacherCache] = None  # for the time of a run, by TeacherCacheHook
        self.keypoints = self._checked_keypoints(keypoints)
        self._on_devices: dict[torch.device, tuple[Tensor, Tensor]] = {}
        chosen = 'output_keypoint_indices'  # of its own keypoints; these are the student's
        if self.keypoints is not None and chosen in (getattr(self.model, 'test_cfg', None) or {}):
            test_cfg = self.model.test_cfg.items()
            self.model.test_cfg = {key: value for key, value in test_cfg if key != chosen}

    #: what to do where its keypoints are not the student's
    HOW_TO_MAP = (
        "give {key}.keypoints, for each keypoint of the student the teacher's number of it"
    )

    @property
    def num_keypoints(self) -> Optional[int]:
        """K of its head; None where the head does not say."""
        return num_keypoints(getattr(self.model, 'head', None))

    def __deepcopy__(self, memo):
        return self

    @property
    def dtype(self) -> Optional[torch.dtype]:
        """In which it runs; None: as the student does, or not yet known."""
        return self.precision.dtype

    def settle(self) -> None:
        """Take the precision and memory format of the device that it is on now.

        Done in the first pass; before it by who has to know them.
        """
        weight = next(self.model.parameters(), None)
        if weight is not None and self.precision.changes_on(weight.device):
            self._digest = self.digest()
            self.precision.take(weight.device)
            self.precision.cast(self.model)

    def _checked_keypoints(self, keypoints: Optional[Sequence[int]]) -> Optional[Tensor]:
        if keypoints is None:
            return None
        key, count = f'{self.key}.keypoints', self.num_keypoints
        give = f'give numbers of its {count} keypoints from 0, or -1 for one it does not have'
        if not is_list(keypoints) or not keypoints:
            raise refusal(key, keypoints, give)
        for k in keypoints:
            if not is_whole(k) or k < -1 or (count is not None and k >= count):
                raise ValueError(f'{key} has {k!r}: {give}')
        known = [k for k in keypoints if k >= 0]
        if not known:
            raise ValueError(f'{key} has -1 alone, so that it would teach nothing: {give}')
        twice = sorted({k for k in known if known.count(k) > 1})
        if twice:
            raise ValueError(
                f"{key} names {twice} twice: two keypoints of the student cannot be the teacher's "
                'same one, give -1 for one of them'
            )
        return torch.tensor(list(keypoints))

    def load(self) -> None:
        """Read the weights.

        Raises:
            ValueError: They do not fit the model strictly, or cannot be read.
        """
        if self.ready:
            return
        if self.checkpoint is None:
            print_log(
                f'{self.key}.checkpoint=None: this teacher is untrained',
                'current',
                logging.WARNING,
            )
        else:
            try:
                saved = read_checkpoint(self.checkpoint)
                self.load_weights(state_of(saved, self.checkpoint))
            except (CheckpointError, OSError, RuntimeError) as error:
                raise ValueError(
                    f'{self.key}.checkpoint={self.checkpoint!r} cannot be loaded into '
                    f'{self.key}.config, give the file or address of its weights: {error}'
                ) from error
            self.dataset_meta = stated_dataset(saved)
            self._compare_preprocessor(stated_preprocessor(stated_config(saved)))
        self.ready = True

    def _compare_preprocessor(self, stated: Optional[dict]) -> None:
        differences = preprocessor_differences(stated, self.config.get('data_preprocessor'))
        if differences:
            raise ValueError(
                f'{self.key}.config: data_preprocessor is not the one that {self.checkpoint} was '
                f'trained with, {", ".join(differences)}: give the config of its training'
            )

    def check_keypoint_count(self, student: Optional[nn.Module], partly: bool = False) -> None:
        """Compare the number of keypoints, or of those that are mapped, with a student's.

        Args:
            student: Its head.
            partly: Whether the teacher may have only some of the student's keypoints.

        Raises:
            ValueError: They differ.
        """
        mapped = self.keypoints
        check_keypoint_count(
            self.num_keypoints if mapped is None else len(mapped),
            num_keypoints(student),
            f'{self.key}{" has" if mapped is None else ".keypoints names"}',
            'the student',
            self.HOW_TO_MAP.format(key=self.key) + (', or -1' if partly else ''),
        )

    def compare_keypoints(self, dataset_meta) -> None:
        """Compare the names of the keypoints with those of the student's data set.

        A mapping (``keypoints``) is taken as it is meant. Names that are not known fit.

        Args:
            dataset_meta: Of the data set that the student is trained on.

        Raises:
            ValueError: The teacher was trained for others, or in another order.
        """
        if self.keypoints is not None:
            return
        stated = keypoint_names(self.dataset_meta)
        other = keypoint_differences(stated, keypoint_names(dataset_meta))
        if other:
            raise ValueError(
                f"{self.key} was trained for other keypoints (number: the data set's, its own): "
                f'{", ".join(other)}; {self.HOW_TO_MAP.format(key=self.key)}, or -1'
            )

    def load_weights(
        self, state: dict, give: str = 'give weights of a training that stayed finite'
    ) -> None:
        """Take weights that are there already, in place of :meth:`load`.

        Args:
            state: The weights.
            give: What to do if they are not finite, for the message.

        Raises:
            RuntimeError: They do not fit the model strictly.
            NonFiniteError: One is NaN or infinite.
        """
        self.model.load_state_dict(state, strict=True)
        self._digest = None
        given = '' if self.checkpoint is None else f'.checkpoint={self.checkpoint!r}'
        half = '' if self.dtype is None else f' (run as {str(self.dtype).partition(".")[2]})'
        check_weights(self.model, f'{self.key}{given}{half}', give)
        self.ready = True

    def digest(self) -> str:
        """SHA-256 of its weights: by it they are known again, whatever a device made of them."""
        if self._digest is not None:
            return self._digest
        sha = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            value = value.detach().cpu().contiguous()
            sha.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
            # as bytes: numpy has no bfloat16
            sha.update(value.reshape(-1).view(dtype=torch.uint8).numpy())
        return sha.hexdigest()

    def outputs_for_batch(
        self, inputs: Tensor, data_samples: list, paths: list[OutputPath], preprocessor: nn.Module
    ) -> list[Tensor]:
        """:meth:`outputs` for :meth:`own_images` of a batch, from the cache where it has them."""

        def run(inputs: Tensor, data_samples: list) -> list[Tensor]:
            images = self.own_images(inputs, data_samples, preprocessor)
            found = self.outputs(images, paths, data_samples)
            self.look_at([path.name for path in paths], found)
            return found

        if self.cache is None:
            return run(inputs, data_samples)
        return self.cache.outputs(
            [self._key(sample) for sample in data_samples],
            [path.name for path in paths],
            lambda numbers: run(inputs[numbers], [data_samples[i] for i in numbers]),
            inputs.device,
        )

    def compare_with_labels(self, returned, data_samples: list) -> None:
        """In the first batches of a training: does it know the labels?

        Args:
            returned: What :meth:`forward_head` returned for the batch.
            data_samples: Its B samples.

        Raises:
            UselessTeacherError: See :class:`LabelCheck`.
        """
        check, kind = self.label_check, head_kind(getattr(self.model, 'head', None))
        if check is None or check.done or kind is None:
            return
        output = [self.pick_keypoints(x) for x in read_output(kind, returned)]
        check.add(kind, output, data_samples, self.masked_weight(taught_weights(data_samples)))

    def look_at(self, names: Sequence[str], outputs: Sequence[Tensor]) -> None:
        """Refuse outputs that are not finite, the first time that each is taken.

        Later ones show in the loss: to look at each would let every step wait for the device.

        Raises:
            NonFiniteError: One is NaN or infinite somewhere.
        """
        first = {name: x for name, x in zip(names, outputs) if name not in self._seen}
        if first:
            named = {f'its output {name!r}': x for name, x in first.items()}
            give = 'look at its checkpoint and data_preprocessor (a std of 0?), and the pictures'
            if self.dtype is not None:
                give += f", or give {self.key}.dtype='float32'"
            check_outputs(named, self.key, give)
            self._seen.update(first)

    def _key(self, sample) -> Optional[CacheKey]:
        if 'augmentation' not in sample:
            return None
        seen = sample if self.view is None else sample.get(f'view_{self.view}')
        # without its view the teacher is run, and says what is missing
        return None if seen is None else CacheKey(*sample.augmentation, seen.picture)

    @torch.no_grad()
    def outputs(
        self, images: Tensor, paths: list[OutputPath], data_samples: Optional[list] = None
    ) -> list[Tensor]:
        """Outputs at some places for a batch of images, as constants in float32.

        Args:
            images: (B, 3, h, w), from :meth:`own_images`.
            paths: Places in ``model``.
            data_samples: Samples with labels, to see whether it knows them.

        Raises:
            RuntimeError: The weights were never loaded.
            UselessTeacherError: See :meth:`compare_with_labels`.
        """
        with capture(self.model, paths) as captured:
            returned = self.forward_head(images)
        if data_samples is not None:
            self.compare_with_labels(returned, data_samples)
        return [constant(captured_output(captured, path)) for path in paths]

    @torch.no_grad()
    def forward_head(self, images: Tensor):
        """What the forward pass of its head returns for a batch from :meth:`own_images`."""
        self._get_ready()
        with self.precision.running(images.device):
            return self.model(self.precision.entering(images), None, mode='tensor')

    def panel(self, title: str, images: Tensor) -> Panel:
        """What it says of a batch, for the student's keypoints.

        Args:
            title: The panel's.
            images: From :meth:`own_images`.
        """
        found = panel_of(title, self.model.head, self.forward_head(images))
        if self.keypoints is None or found.places is None:
            return found
        known = (self.keypoints >= 0).expand(len(images), -1)
        maps = None if found.maps is None else self.pick_keypoints(found.maps)
        if maps is not None:
            maps = maps * known.to(maps)[..., None, None]
        return replace(found, maps=maps, places=self.pick_keypoints(found.places), shown=known)

    def through_head(self, feature: Tensor) -> Tensor:
        """What the frozen head makes of a feature of another model; the gradient passes.

        Args:
            feature: (B, C, h, w), with the C that the head expects.

        Returns:
            Heatmaps (B, K, H, W) in float32.

        Raises:
            RuntimeError: The weights were never loaded.
        """
        self._get_ready()
        return self.precision.through_head(self.model.head, feature)

    def _get_ready(self) -> None:
        if not self.ready:
            raise RuntimeError(
                f'{self.key}: its weights are not loaded; call init_weights() of the distiller '
                'first, as the Runner does'
            )
        self.settle()

    def own_images(self, inputs: Tensor, data_samples: list, preprocessor: nn.Module) -> Tensor:
        """The batch as this teacher wants to see it.

        Args:
            inputs: The student's images (B, 3, h, w), normalised.
            data_samples: Their samples; with a ``view`` the teacher's images are in them.
            preprocessor: The student's data preprocessor.

        Raises:
            ValueError: The view is missing, or the images do not have the size that the
                teacher's codec is for.
        """
        own = self.model.data_preprocessor
        if self.view is not None:
            field = f'view_{self.view}'
            if not all(field in sample for sample in data_samples):
                raise ValueError(
                    f'{self.key}.view={self.view!r}: the samples have no such view; put '
                    f"dict(type='TeacherView', name={self.view!r}, input_size=...) before "
                    'TopdownAffine in the pipeline of this data loader, and PackPoseViews last '
                    '(train_dataloader, and switch_pipeline of a hook that changes it; for '
                    'TeacherMetricsHook val_dataloader as well)'
                )
            self._check_crops(data_samples, field)
            view = torch.stack([sample.get(field).img for sample in data_samples])
            images = normalise(view.to(inputs.device, inputs.dtype), own)
        elif self._sees_the_same(preprocessor):
            images = inputs
        else:
            images = normalise(pixels(inputs, preprocessor), own)
        self._check_size(images)
        return images

    def _sees_the_same(self, preprocessor: nn.Module) -> bool:
        """Compared once for all steps: it has to wait for the device."""
        if self._compared is None or self._compared[0] is not preprocessor:
            same = same_input(self.model.data_preprocessor, preprocessor)
            self._compared = (preprocessor, same)
        return self._compared[1]

    def _check_crops(self, data_samples: list, field: str) -> None:
        """Both crops must show the same: only then do places in them correspond."""
        for sample in data_samples:
            own, view = input_place(sample)[1], sample.get(field).input_scale
            if not np.allclose(own, view, rtol=0.01):
                size, other = sample.input_size, sample.get(field).input_size
                raise ValueError(
                    f'{self.key}.view={self.view!r} shows another part of the picture than the '
                    f"student's crop: give TeacherView an input_size of the same shape as "
                    f'{tuple(size)}, found {tuple(other)}'
                )

    def _check_size(self, images: Tensor) -> None:
        decoder = getattr(getattr(self.model, 'head', None), 'decoder', None)
        decoder = getattr(decoder, 'keypoint_codec', decoder)  # of integral regression
        size = getattr(decoder, 'input_size', None)
        width, height = images.shape[-1], images.shape[-2]
        if size is not None and tuple(size) != (width, height):
            what = 'its view' if self.view else "the student's images"
            raise ValueError(
                f'{self.key} is for images of {size[0]} x {size[1]} (width x height), {what} have '
                f"{width} x {height}: make its own with dict(type='TeacherView', name=..., "
                f'input_size={tuple(size)}) in the pipeline, and name it in {self.key}.view'
            )

    @torch.no_grad()
    def predict(
        self, images: Tensor, data_samples: list, chosen: Optional[Sequence[int]] = None
    ) -> list:
        """Its predictions in pictures' coordinates, for the student's keypoints.

        Args:
            images: From :meth:`own_images`.
            data_samples: Their samples; they are not changed.
            chosen: Those of the student's keypoints that are tested, its
                ``test_cfg.output_keypoint_indices``. It takes effect with ``keypoints`` only: a
                teacher without has a choice of its own.

        Returns:
            Samples with ``pred_instances``. A keypoint that the teacher does not have gets
            score 0.
        """
        samples = []
        for sample in data_samples:
            sample = sample.clone()
            if self.view is not None:
                sample.set_metainfo(dict(sample.get(f'view_{self.view}').metainfo_items()))
            flip = self._flip_indices(sample.get('flip_indices'))
            sample.set_metainfo({'flip_indices': flip})
            samples.append(sample)
        self.settle()
        self.model.float()  # numpy, in which heads decode, has no bfloat16
        results = self.model.predict(images.float(), samples)
        self.precision.cast(self.model)
        if self.keypoints is not None:
            mapped = self.keypoints if chosen is None else self.keypoints[list(chosen)]
            order = mapped.clamp(min=0).numpy()
            for result in results:
                instances = result.pred_instances
                for name in ('keypoints', 'keypoint_scores', 'keypoints_visible'):
                    if name in instances:
                        instances.set_field(instances.get(name)[:, order], name)
                instances.keypoint_scores[:, (mapped < 0).numpy()] = 0
        return results

    def _flip_indices(self, student: Optional[Sequence[int]]) -> Optional[list[int]]:
        """Which keypoint of the teacher's is which in a flipped picture."""
        known = self.dataset_meta.get('flip_indices')
        if known is not None:
            return [int(k) for k in known]
        if self.keypoints is None or student is None:
            return student
        # what the student's keypoints tell; those that it does not have stay
        order = self.keypoints.tolist()
        flip = list(range(self.num_keypoints or max(order) + 1))
        for k, t in enumerate(order):
            if k < len(student) and t >= 0 and order[student[k]] >= 0:
                flip[t] = order[student[k]]
        return flip

    def pick_keypoints(self, output: Tensor) -> Tensor:
        """The student's keypoints of a teacher's output (B, K_teacher, ...)."""
        if self.keypoints is None:
            return output
        return output.index_select(1, self._mapped(output.device)[0])

    def masked_weight(self, target_weight: Tensor) -> Tensor:
        """Keypoint weights (B, K), with 0 where the teacher does not have the keypoint."""
        if self.keypoints is None:
            return target_weight
        return target_weight * self._mapped(target_weight.device)[1].to(target_weight.dtype)

    def _mapped(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Numbers of the student's keypoints (K,), and which of them it has; copied only once."""
        if device not in self._on_devices:
            mapped = self.keypoints.to(device)
            self._on_devices[device] = mapped.clamp(min=0), mapped >= 0
        return self._on_devices[device]


def same_input(a: nn.Module, b: nn.Module) -> bool:
    """Whether two data preprocessors make the same image of the same pixels."""
    if bool(getattr(a, '_channel_conversion', False)) != bool(
        getattr(b, '_channel_conversion', False)
    ):
        return False
    first, second = _mean_std(a), _mean_std(b)
    if first is None or second is None:
        return first is second
    return all(torch.equal(x.cpu(), y.cpu()) for x, y in zip(first, second))


def _mean_std(preprocessor: nn.Module) -> Optional[tuple[Tensor, Tensor]]:
    if not getattr(preprocessor, '_enable_normalize', False):
        return None
    return preprocessor.mean, preprocessor.std


def pixels(inputs: Tensor, preprocessor: nn.Module) -> Tensor:
    """Undo a data preprocessor: pixels in the order that the pipeline read them."""
    statistics = _mean_std(preprocessor)
    if statistics is not None:
        mean, std = (s.to(inputs) for s in statistics)
        inputs = inputs * std + mean
    return inputs.flip(1) if getattr(preprocessor, '_channel_conversion', False) else inputs


def normalise(raw: Tensor, preprocessor: nn.Module) -> Tensor:
    """Do to pixels what a data preprocessor does."""
    if getattr(preprocessor, '_channel_conversion', False):
        raw = raw.flip(1)
    statistics = _mean_std(preprocessor)
    if statistics is None:
        return raw
    mean, std = (s.to(raw) for s in statistics)
    return (raw - mean) / std
