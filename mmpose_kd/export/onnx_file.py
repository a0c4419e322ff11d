"""A student as an ONNX file, compared with onnxruntime before it stays."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor

from ..core.capture import replaced
from ..core.facts import keypoint_names
from ..version import __version__
from .config import ExportError
from .graph import RTMLIB_RATIO, StudentGraph
from .same_predictions import picture_channels

#: largest difference that is allowed, in shares of the output's largest absolute value
TOLERANCE = {False: 1e-3, True: 1e-2}  # by whether weights are float16
#: the same of drawn bins, in pixels of the input: half a bin, and how float32 rounds
NEAREST = 0.5 / RTMLIB_RATIO + 0.02
OPSET = 13
BATCHES = (1, 3)
EXTRA = 'pip install "mmpose-kd[onnx]"'


@dataclass(frozen=True)
class OnnxReport:
    """What was written, and how it was compared.

    Attributes:
        path: The file.
        inputs: The input's shape and form, for the reader.
        outputs: The outputs with their shapes, for the reader.
        difference: Largest difference between MMPose's model and onnxruntime, in shares of the
            output's largest absolute value.
        tolerance: What was allowed.
        pixels: Of drawn bins: largest distance from the places that MMPose decodes, in pixels of
            the input; half a bin, 0.25, is the most. None: the head's own outputs are written.
        half: Whether the weights are float16.
        bytes: Size of the file.
    """

    path: Path
    inputs: str
    outputs: str
    difference: float
    tolerance: float
    pixels: Optional[float]
    half: bool
    bytes: int

    def __str__(self) -> str:
        lines = [
            f'{self.path}: {self.bytes / 2**20:.1f} MiB{", weights in float16" * self.half}',
            f'input {self.inputs}',
            f'outputs {self.outputs}',
            f'largest difference from MMPose in onnxruntime {self.difference:.1e} of the '
            f'outputs, allowed {self.tolerance:.0e}',
        ]
        if self.pixels is not None:
            lines.append(
                f'bins are drawn at most {self.pixels:.2f} pixels of the input from the places '
                'that MMPose decodes'
            )
        return '\n'.join(lines)


def onnx_packages() -> tuple:
    """The modules ``onnx`` and ``onnxruntime``.

    Raises:
        ExportError: One is not installed.
    """
    found = []
    for name in ('onnx', 'onnxruntime'):
        try:
            found.append(importlib.import_module(name))
        except ImportError as error:
            raise ExportError(
                f'an ONNX file needs the packages onnx and onnxruntime, and {name} cannot be '
                f'imported ({error}): {EXTRA}'
            ) from error
    return tuple(found)


def write_onnx(
    model: BaseModel,
    size: tuple[int, int],
    path: Path,
    final: Path,
    outputs: str = 'rtmlib',
    channels: str = 'bgr',
    half: bool = False,
    udp: bool = False,
) -> OnnxReport:
    """Write a plain model as an ONNX file and compare it with onnxruntime on random pictures.

    Args:
        model: The plain model, in evaluation mode.
        size: Width and height of its input.
        path: The file to write.
        final: Where it will lie afterwards, for the report.
        outputs, channels, udp: See :class:`~mmpose_kd.export.graph.StudentGraph`.
        half: Whether weights are stored in float16; they are brought back to float32 as they are
            used.

    Raises:
        ExportError: A package is missing, the model cannot be converted, or the outputs differ by
            more than :data:`TOLERANCE`.
    """
    onnx, runtime = onnx_packages()
    try:
        graph = StudentGraph(model, size, channels, outputs, udp).eval()
    except ValueError as error:
        give = 'give --onnx-outputs raw' if outputs != 'raw' else 'it cannot be written as ONNX'
        raise ExportError(f'{error}: {give}; nothing was written') from error
    planes = picture_channels(model)
    pictures = random_pictures(max(BATCHES), planes, size)
    convert(graph, pictures[:2], path)
    written = onnx.load(str(path))
    if half:
        _store_half(onnx, written)
        onnx.save(written, str(path))
    difference, pixels = _compare(runtime, graph, pictures, path)
    tolerance = TOLERANCE[half]
    # written this way round, NaN is refused as well
    if not difference <= tolerance or not (pixels is None or pixels <= NEAREST):
        found = f'{difference:.1e} of its largest output, allowed are {tolerance:.0e}'
        if pixels is not None and not pixels <= NEAREST:
            found = f'{pixels:.2f} pixels of the input, allowed are {NEAREST:.2f}'
        hint = ': leave --half out' if half else ''
        raise ExportError(
            f'the ONNX file does not give the same as the student: onnxruntime differs by {found}'
            f'{hint}; nothing was written'
        )
    if graph.drawn:
        del written.graph.output[len(graph.names) :]
    _fix_shapes(written, pictures.shape[1:], runtime, path)
    _state(onnx, written, graph, channels)
    onnx.checker.check_model(written)
    onnx.save(written, str(path))
    return OnnxReport(
        final,
        _told_input(graph, planes, channels),
        _told_outputs(runtime, path),
        difference,
        tolerance,
        pixels,
        half,
        path.stat().st_size,
    )


# ------------------------------------------------------------------------ conversion


def convert(graph: StudentGraph, pictures: Tensor, path: Path) -> None:
    """Let torch write the file, with a free batch size.

    The exporter that traces is tried first: it is fast, needs no further package, and is there in
    every torch that is supported up to now. The newer one of ``torch.export`` takes over where
    the first is gone or cannot convert an operation.

    Raises:
        ExportError: Neither can.
    """
    # behind drawn bins the head's own outputs come, for the check alone
    raw = [f'raw_{name}' for name in graph.raw_names] if graph.drawn else []
    names = [*graph.names, *raw]
    common = dict(input_names=['input'], output_names=names)
    free = {name: {0: 'batch'} for name in ('input', *names)}
    has_newer = 'dynamo' in inspect.signature(torch.onnx.export).parameters
    ways = [
        dict(opset_version=OPSET, dynamic_axes=free, **({'dynamo': False} if has_newer else {}))
    ]
    if has_newer and importlib.util.find_spec('onnxscript') is not None:
        batch = torch.export.Dim('batch')
        ways.append(dict(dynamo=True, dynamic_shapes=({0: batch},), verbose=False))
    problems = []
    for way in ways:
        try:
            # what the exporters warn of is looked at by the comparison that follows
            with warnings.catch_warnings(), torch.no_grad(), _whole_pooling():
                warnings.simplefilter('ignore')
                torch.onnx.export(graph, (pictures,), str(path), **common, **way)
            return
        except Exception as error:  # exporters raise whatever an operation raises
            first = (str(error).splitlines() or [''])[0]
            problems.append(f'{type(error).__name__}: {first}')
    if len(ways) == 1 and has_newer:
        problems.append(f'the newer exporter needs onnxscript: {EXTRA}')
    raise ExportError(
        f'torch {torch.__version__} cannot write this model as ONNX: {"; ".join(problems)}; '
        'nothing was written'
    )


@contextlib.contextmanager
def _whole_pooling() -> Iterator[None]:
    """Adaptive pooling to a size that divides the map as plain pooling.

    LiteHRNet pools to the size of another map; to a tracer that is no constant, though it is one.
    """
    stock = F.adaptive_avg_pool2d

    def pool(maps: Tensor, output_size):
        pair = output_size if isinstance(output_size, (tuple, list)) else [output_size] * 2
        wanted = [int(n) for n in pair if n is not None]
        found = [int(n) for n in maps.shape[2:]]
        if len(wanted) < 2 or any(n % w for n, w in zip(found, wanted)):
            return stock(maps, output_size)
        return F.avg_pool2d(maps, [n // w for n, w in zip(found, wanted)])

    with replaced(F, 'adaptive_avg_pool2d', pool):
        yield


def _store_half(onnx, written) -> None:
    """Keep the weights of layers in float16, with a cast to float32 before they are used."""
    casts, kept = [], []
    for weight in written.graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT or len(weight.dims) < 2:
            kept.append(weight)  # biases are small, and sizes of layers are no weights
            continue
        values = onnx.numpy_helper.to_array(weight).astype(np.float16)
        name = f'{weight.name}_float16'
        kept.append(onnx.numpy_helper.from_array(values, name))
        casts.append(
            onnx.helper.make_node('Cast', [name], [weight.name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *written.graph.node]
    del written.graph.initializer[:], written.graph.node[:]
    written.graph.initializer.extend(kept)
    written.graph.node.extend(nodes)


# ------------------------------------------------------------------------ comparison


def random_pictures(number: int, planes: int, size: tuple[int, int]) -> Tensor:
    """Pictures (B, C, h, w) of normalised noise, the same ones at every call."""
    width, height = size
    generator = torch.Generator().manual_seed(0)
    return torch.randn((number, planes, height, width), generator=generator)


def _session(runtime, path: Path):
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    return runtime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])


def _compare(
    runtime, graph: StudentGraph, pictures: Tensor, path: Path
) -> tuple[float, Optional[float]]:
    """Largest difference of the head's own outputs, and of drawn bins in pixels."""
    session = _session(runtime, path)
    worst, pixels = 0.0, []
    for number in BATCHES:
        batch = pictures[:number]
        with torch.no_grad():
            wanted = graph.raw(batch)
        found = [torch.from_numpy(x) for x in session.run(None, {'input': batch.numpy()})]
        raw = found[len(graph.names) :] if graph.drawn else found
        for one, other in zip(wanted, raw):
            scale = float(one.abs().max().clamp(min=1e-12))
            worst = _larger(worst, float((one - other).abs().max()) / scale)
        if graph.drawn:
            pixels.append(_drawn_distance(graph, found[: len(graph.names)], raw))
    return worst, max(pixels, default=0.0) if graph.drawn else None


def _larger(one: float, other: float) -> float:
    """The larger number; NaN is the largest."""
    return other if other != other else max(one, other)


def _drawn_distance(graph: StudentGraph, bins: list[Tensor], raw: list[Tensor]) -> float:
    """How far drawn bins are from what the student's own codec decodes of the same outputs.

    Keypoints that are not found (a score of 0 or less) or lie beyond the crop are left out.
    """
    places = torch.stack([axis.argmax(-1) for axis in bins], -1) / RTMLIB_RATIO
    keypoints, scores = decoded(graph, raw)
    keypoints = keypoints * graph.shrink
    last = torch.tensor(graph.size) - 1 / RTMLIB_RATIO
    inside = (scores > 0) & ((keypoints >= 0) & (keypoints <= last)).all(-1)
    distance = (places - keypoints).abs().amax(-1)[inside]
    return float(distance.max()) if len(distance) else 0.0


def decoded(graph: StudentGraph, raw: list[Tensor]) -> tuple[Tensor, Tensor]:
    """What MMPose's codec makes of a head's outputs: keypoints (B, K, 2), scores (B, K)."""
    codec = graph.model.head.decoder
    keypoints, scores = [], []
    for parts in zip(*(x.numpy() for x in raw)):
        if graph.kind == 'heatmap':
            found = codec.decode(parts[0])
        elif graph.kind == 'bins':
            found = codec.decode(parts[0][None], parts[1][None])
        else:
            found = codec.decode(np.concatenate(parts, -1)[None])
        keypoints.append(torch.as_tensor(np.asarray(found[0][0], dtype=np.float32)))
        scores.append(torch.as_tensor(np.asarray(found[1][0], dtype=np.float32)))
    return torch.stack(keypoints), torch.stack(scores)


# ------------------------------------------------------------------------ what is told


def _fix_shapes(written, picture, runtime, path: Path) -> None:
    """State every side but the batch as a number: the exporters do not follow all of them."""
    found = _session(runtime, path).run(None, {'input': np.zeros((1, *picture), np.float32)})
    for output, array in zip(written.graph.output, found):
        for side, length in list(zip(output.type.tensor_type.shape.dim, array.shape))[1:]:
            side.dim_value = length


def _state(onnx, written, graph: StudentGraph, channels: str) -> None:
    """State in the file's metadata what a program that runs it has to know."""
    codec = getattr(graph.model.head, 'decoder', None)
    mean, std = graph.statistics or ([], [])
    facts = dict(
        made_by=f'mmpose-kd {__version__}',
        input_size=','.join(map(str, graph.size)),
        input_channels=channels,
        mean=','.join(map(str, mean)),
        std=','.join(map(str, std)),
        outputs=','.join(graph.names),
        codec=type(codec).__name__,
    )
    if 'simcc_x' in graph.names:
        ratio = RTMLIB_RATIO if graph.drawn else codec.simcc_split_ratio
        facts['simcc_split_ratio'] = str(float(ratio))
    names = keypoint_names(getattr(graph.model, 'dataset_meta', None))
    if names:
        facts['keypoints'] = ','.join(str(names[i]) for i in sorted(names))
    onnx.helper.set_model_props(written, facts)


def _told_input(graph: StudentGraph, planes: int, channels: str) -> str:
    width, height = graph.size
    order = {'bgr': 'blue, green, red', 'rgb': 'red, green, blue'}[channels]
    if planes != 3:
        order = f'{planes} channels'
    if graph.statistics is None:
        form = 'pixels, 0 to 255'
    else:
        mean, std = graph.statistics
        form = f'(pixel - {mean}) / {std}'
    return f'(batch, {planes}, {height}, {width}): {order}; {form}'


def _told_outputs(runtime, path: Path) -> str:
    return ', '.join(
        f'{one.name} ({", ".join(str(n) for n in one.shape)})'
        for one in _session(runtime, path).get_outputs()
    )
