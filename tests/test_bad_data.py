"""Broken annotations and pictures: wherever plain MMPose's loss and gradients are finite, so are
every method's.

A case changes what a data set gives for one person; the stock pipeline steps do the rest. A method
is compared with the plain model on the same data, in one training step each.
"""

from __future__ import annotations

import copy
import functools
import types

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import Compose
from mmpose.registry import HOOKS, TRANSFORMS

from mmpose_kd.core.finite import NonFiniteError

from .helpers.distillers import MSE, untrained
from .helpers.models import CODEC, RESNET, SIZE, K, build, plain_config, randomize, total
from .helpers.ocd import HEADS, UDP, ocd_of, plain_of
from .helpers.okdhp import CONSTANT
from .helpers.tcd import OUTPUT, TASK, cross, teacher

pytestmark = pytest.mark.reliability

NAN, INF = float('nan'), float('inf')

# ------------------------------------------------------------------------ the bad data


def person(seed):
    """What a data set gives for a person."""
    rng = np.random.default_rng(seed)
    return dict(
        img=rng.integers(0, 256, (160, 120, 3), dtype=np.uint8),
        bbox=np.array([[20.0, 20.0, 100.0, 140.0]], dtype=np.float32),
        keypoints=rng.uniform((30, 30), (90, 130), (1, K, 2)).astype(np.float32),
        keypoints_visible=np.ones((1, K), dtype=np.float32),
        dataset_keypoint_weights=np.ones(K, dtype=np.float32),
        flip_indices=list(range(K))[::-1],
    )


def points(value, visible=1, which=1):
    """Coordinates of a keypoint (a number or a slice) and whether it is said to be visible."""

    def change(one):
        one['keypoints'][0, which] = value
        one['keypoints_visible'][0, which] = visible

    return change


def visibility(value, which=1):
    return lambda one: one['keypoints_visible'][0].__setitem__(which, value)


def both(value, which=slice(1, 3)):
    """Visibility with a weight beside it, (1, K, 2), as newer data sets have it."""

    def change(one):
        pair = np.stack([one['keypoints_visible'], np.ones((1, K), np.float32)], -1)
        pair[0, which] = value
        one['keypoints_visible'] = pair

    return change


def box(*values):
    return lambda one: one.update(bbox=np.array([values], dtype=np.float32))


def weights(value, which=1):
    return lambda one: one['dataset_keypoint_weights'].__setitem__(which, value)


def picture(make):
    def change(one):
        one['img'] = make(one['img'])

    return change


def outside(one):
    one['keypoints'] += 1000


ALL = slice(None)
#: by name what is done to a person; 'all ...' is done to every person of the batch
CASES = {
    'nothing': lambda one: None,
    'nan, not visible': points(NAN, 0),
    'nan, visible': points(NAN),
    'nan in x, not visible': points((NAN, 50), 0),
    'nan in x, visible': points((NAN, 50)),
    'nan in y, visible': points((50, NAN)),
    'inf, not visible': points(INF, 0),
    'inf, visible': points(INF),
    '-inf, not visible': points(-INF, 0),
    '-inf, visible': points(-INF),
    'inf and -inf, visible': points((INF, -INF)),
    'all nan, visible': points(NAN, 1, ALL),
    'all nan, not visible': points(NAN, 0, ALL),
    'all inf, not visible': points(INF, 0, ALL),
    'far': points(1e9),
    'far, not visible': points(1e9, 0),
    'very far': points(3e38),
    'very far, not visible': points(3e38, 0),
    'negative': points(-5),
    'very negative': points(-1e9),
    'very negative, not visible': points(-1e9, 0),
    'all outside': outside,
    'all at 0': points(0, 1, ALL),
    'all at 0, not visible': points(0, 0, ALL),
    'all at one place': points(60, 1, ALL),
    'at the corner': points((20, 20)),
    'at the other corner': points((100, 140)),
    'just outside': points((-3, 82)),
    'none visible': visibility(0, ALL),
    'one visible': visibility(0, slice(1, None)),
    'visible nan': visibility(NAN),
    'all visible nan': visibility(NAN, ALL),
    'visible inf': visibility(INF),
    'visible -inf': visibility(-INF),
    'visible -1': visibility(-1),
    'visible 2': visibility(2),
    'visible 0.3': visibility(0.3),
    'visible 1e-30': visibility(1e-30),
    'visible with weight 0': both((1, 0)),
    'visible with weight nan': both((1, NAN)),
    'not visible with weight nan': both((0, NAN)),
    'box without width': box(60, 20, 60, 140),
    'box without size': box(60, 60, 60, 60),
    'box turned round': box(100, 140, 20, 20),
    'box nan': box(NAN, 20, 100, 140),
    'box inf': box(0, 0, INF, INF),
    'box far away': box(1e5, 1e5, 1.1e5, 1.1e5),
    'box of a pixel': box(60, 60, 61, 61),
    'box huge': box(-1e6, -1e6, 1e6, 1e6),
    'weight 0': weights(0),
    'all weights 0': weights(0, ALL),
    'weight nan': weights(NAN),
    'weight inf': weights(INF),
    'weight -1': weights(-1),
    'weight 1e-30': weights(1e-30),
    'weight 1e30': weights(1e30),
    'black': picture(np.zeros_like),
    'white': picture(lambda img: np.full_like(img, 255)),
    'one pixel': picture(lambda img: img[:1, :1].copy()),
    'a line': picture(lambda img: img[:, :1].copy()),
    'nan pixels': picture(lambda img: np.where(img > 250, NAN, img).astype(np.float32)),
    'all pixels nan': picture(lambda img: np.full(img.shape, NAN, np.float32)),
    'inf pixels': picture(lambda img: np.where(img > 250, INF, img).astype(np.float32)),
    'large pixels': picture(lambda img: img.astype(np.float32) * 1e6),
}  # fmt: skip
QUICK_CASES = ('nan, not visible', 'nan, visible', 'very far', 'none visible', 'visible nan',
               'not visible with weight nan', 'box without size', 'box nan', 'weight nan',
               'weight inf', 'black', 'one pixel')  # fmt: skip
EVERYONE = ('none visible', 'all outside', 'all nan, not visible', 'all weights 0', 'black',
            'box without size', 'all at 0, not visible', 'all visible nan')  # fmt: skip


def batch(encoder, case, everyone, use_weights):
    """Images (B, 3, h, w) and samples as the stock pipeline and preprocessor make them."""
    steps = Compose(
        [
            TRANSFORMS.build(step)
            for step in (
                dict(type='GetBBoxCenterScale'),
                dict(type='TopdownAffine', input_size=SIZE),
                dict(type='GenerateTarget', encoder=copy.deepcopy(encoder),
                     use_dataset_keypoint_weights=use_weights),
                dict(type='PackPoseInputs'),
            )
        ]
    )  # fmt: skip
    inputs, samples = [], []
    for seed in range(2):
        one = person(seed)
        if everyone or seed == 0:
            CASES[case](one)
        packed = steps(one)
        inputs.append(packed['inputs'])
        samples.append(packed['data_samples'])
    return inputs, samples


# ------------------------------------------------------------------------- the methods

SIGMA = dict(type='MSRAHeatmap', input_size=SIZE, heatmap_size=(8, 16), sigma=1, unbiased=True)
GRIDS = dict(msra=CODEC, udp=UDP, dark=SIGMA)


def of_grid(grid):
    model = plain_config(RESNET)
    model['head']['decoder'] = GRIDS[grid]
    return model


def unweighted(model):
    """The model with a loss that does not look at weights."""
    loss = model['head'].get('loss') or dict(type='KLDiscretLoss')
    model['head']['loss'] = {**loss, 'use_target_weight': False}
    return model


def with_grid(kind, grid):
    return dict(
        type='CrossRepresentationLabel',
        deploy=HEADS[kind]['head']['decoder'], heatmap=GRIDS[grid],
    )  # fmt: skip


def okdhp(grid, **head):
    plain = of_grid(grid)
    model = copy.deepcopy(plain)
    model['backbone'] = dict(type='SharedTrunk', backbone=RESNET, split='stage2')
    model['head'] = dict(
        type='OKDHPHead', backbone=RESNET, split='stage2', head=plain['head'],
        num_branches=2, kd_schedule=CONSTANT, **head,
    )  # fmt: skip
    return plain, GRIDS[grid], model, GRIDS[grid]


def ocd(kind, grid, **settings):
    model = ocd_of(kind, balance=dict(interval=1), **settings)
    model['head']['heatmap']['decoder'] = GRIDS[grid]
    return plain_of(kind), HEADS[kind]['head']['decoder'], model, with_grid(kind, grid)


def distiller(plain, codec, entries, other=None, teachers=None):
    model = dict(
        type='PoseDistiller', student=copy.deepcopy(plain),
        teachers=teachers or [untrained(copy.deepcopy(plain))], distill=entries,
    )  # fmt: skip
    return plain, codec, model, other or codec


def tcd(kind, grid):
    entries = [{**TASK, 'balance': dict(interval=1)}, cross(kind)]
    return distiller(
        plain_of(kind), HEADS[kind]['head']['decoder'], entries, with_grid(kind, grid), [teacher()]
    )


def hhd():
    entry = dict(loss=dict(type='HHDLoss'), student='head[1]', teacher='head')
    plain = plain_of('integral')
    # its soft-argmax has a softmax, the maps before it are those of its inner head
    entry['student'] = 'head.simplebaseline_head'
    return distiller(plain, HEADS['integral']['head']['decoder'], [entry], None,
                     [untrained(plain_config())])  # fmt: skip


def outputs(kind, loss):
    entry = dict(loss=loss, student=OUTPUT[kind], teacher=OUTPUT[kind])
    return distiller(plain_of(kind), HEADS[kind]['head']['decoder'], [entry])


def on_maps(loss, plain=None, **settings):
    entry = dict(loss=loss, student='head.final_layer', teacher='head.final_layer', **settings)
    return distiller(plain or of_grid('msra'), CODEC, [entry])


def pkd():
    entry = dict(loss=dict(type='PearsonFeatureLoss'), student='backbone', teacher='backbone')
    return distiller(of_grid('msra'), CODEC, [entry])


def dskd(plain, codec, **settings):
    hook = dict(type='DSKDHook', guides=[untrained(copy.deepcopy(plain))], **settings)
    if plain['head']['type'] == 'HeatmapHead':
        hook['floor'] = 1e-6
    return plain, codec, hook, codec


METHODS = {
    'okdhp, msra': lambda: okdhp('msra'),
    'okdhp, udp': lambda: okdhp('udp'),
    'okdhp, dark': lambda: okdhp('dark'),
    'okdhp, released': lambda: okdhp('msra', preset='released'),
    **{f'ocd, {kind}': functools.partial(ocd, kind, 'msra') for kind in HEADS},
    **{f'ocd, {kind}, dark': functools.partial(ocd, kind, 'dark') for kind in HEADS},
    'ocd, simcc, udp': lambda: ocd('simcc', 'udp'),
    'ocd, regression, maps': lambda: ocd('regression', 'udp', cross=dict(type='CrossHeatmapLoss')),
    'ocd, simcc, assistant': lambda: ocd('simcc', 'dark', assistant=HEADS['simcc']['head']),
    'ocd, rle, assistant': lambda: ocd('rle', 'msra', assistant=HEADS['regression']['head']),
    **{f'tcd, {kind}': functools.partial(tcd, kind, 'dark') for kind in HEADS},
    'hhd': hhd,
    'kl of maps': lambda: on_maps(dict(type='HeatmapKLLoss')),
    'kl of maps, weighed': lambda: on_maps(dict(type='HeatmapKLLoss', weigh_maps=True)),
    'kl of normalised maps': lambda: on_maps(dict(type='HeatmapKLLoss', normalize='standard')),
    'confidence': lambda: on_maps(MSE, teacher_weights='confidence'),
    'maps, unweighted plain': lambda: on_maps(MSE, unweighted(of_grid('msra'))),
    'kl of bins': lambda: outputs('simcc', dict(type='SimCCKLLoss', beta=1.0)),
    'kl of bins, unweighted plain': lambda: distiller(
        unweighted(plain_of('simcc')), HEADS['simcc']['head']['decoder'],
        [dict(loss=dict(type='SimCCKLLoss', beta=1.0), student=OUTPUT['simcc'],
              teacher=OUTPUT['simcc'])],
    ),
    'pkd': pkd,
    'dskd, msra': lambda: dskd(of_grid('msra'), CODEC),
    'dskd, dark': lambda: dskd(of_grid('dark'), SIGMA, cls_target='guides'),
    **{
        f'dskd, {form}': functools.partial(dskd, of_grid('msra'), CODEC, cls=dict(form=form))
        for form in ('bce', 'focal', 'softmax')
    },
    **{
        f'dskd, {kind}': functools.partial(dskd, plain_of(kind), HEADS[kind]['head']['decoder'])
        for kind in HEADS
    },
    'dskd, simcc, unweighted plain': lambda: dskd(
        unweighted(plain_of('simcc')), HEADS['simcc']['head']['decoder']
    ),
}  # fmt: skip
QUICK = ('okdhp, msra', 'ocd, simcc, dark', 'ocd, regression', 'ocd, integral, dark', 'hhd',
         'tcd, simcc', 'dskd, msra', 'dskd, simcc, unweighted plain', 'pkd')  # fmt: skip


def made(config):
    """A model in training, and its loss as a function of images and samples."""
    model = build(config)
    randomize(getattr(model, 'student', model))
    for n, one in enumerate(getattr(model, 'teachers', ())):
        randomize(one.model, seed=n + 1)
    return model.train(), model.loss


def guided(plain, settings):
    """A plain model, and its loss with DSKD around it."""
    model, loss = made(plain)
    hook = HOOKS.build(settings)
    cfg = Config(dict(model=copy.deepcopy(plain)))
    hook.start(types.SimpleNamespace(model=model, cfg=cfg, seed=0), length=1)
    for guide in hook.bank.guides:
        randomize(guide.teacher.model, seed=1)
    return model, lambda inputs, samples: hook.loss(loss, inputs, samples)


def step(model, loss, inputs, samples):
    """What is not finite in a training step, by name; None if the plain pipeline cannot run."""
    model.zero_grad()
    data = model.data_preprocessor(dict(inputs=inputs, data_samples=samples), True)
    losses = loss(data['inputs'], data['data_samples'])
    total(losses).backward()
    odd = [name for name, value in losses.items() if 'loss' in name and not value.isfinite()]
    return odd + [
        name
        for name, p in model.named_parameters()
        if p.grad is not None and not p.grad.isfinite().all()
    ]


def plain_is_finite(model, codec, case, **how):
    try:
        return step(*model, *batch(codec, case, **how)) == []
    except Exception:  # of MMPose or OpenCV, on data that they do not take
        return False


def compare(method, cases):
    plain, codec, config, other = METHODS[method]()
    stock = made(plain)
    ours = guided(plain, config) if method.startswith('dskd') else made(config)
    wrong, compared = [], 0
    for case in cases:
        for everyone in (False, True) if case in EVERYONE else (False,):
            for use_weights in (False, True) if 'weight' in case else (False,):
                how = dict(everyone=everyone, use_weights=use_weights)
                with np.errstate(all='ignore'):
                    if not plain_is_finite(stock, codec, case, **how):
                        continue
                    compared += 1
                    try:
                        odd = step(*ours, *batch(other, case, **how))
                    except NonFiniteError as error:
                        odd = [str(error)]
                if odd:
                    wrong.append(f'{case} {how}: {len(odd)} not finite, {odd[0]}')
    return wrong, compared


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('method', QUICK)
def test_a_method_is_finite_wherever_plain_mmpose_is(method):
    wrong, compared = compare(method, QUICK_CASES)
    assert wrong == []
    assert compared >= 8


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('method', METHODS)
def test_every_method_is_finite_wherever_plain_mmpose_is(method):
    wrong, compared = compare(method, CASES)
    assert wrong == []
    assert compared >= 40
