"""The shipped configs, by method, and what tests read from them."""

import ast
import functools

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS, TRANSFORMS

from mmpose_kd.distiller.model_config import model_config
from mmpose_kd.export.same_predictions import input_size_of

from . import ROOT

CONFIGS = ROOT / 'configs'
#: what configs of ours inherit, which nobody trains
BASES = sorted((CONFIGS / '_base_').glob('*.py'))
# not the demo's, which are plain models
SHIPPED = sorted(CONFIGS.glob('*.py'))
OKDHP = [path for path in SHIPPED if path.stem.startswith('okdhp_')]
OCD = [path for path in SHIPPED if path.stem.startswith('ocd_')]
DSKD = [path for path in SHIPPED if path.stem.startswith('dskd_')]
DISTILLERS = [path for path in SHIPPED if path not in OKDHP + OCD + DSKD]
HHD = [path for path in DISTILLERS if path.stem.startswith('hhd_')]
HHD_PAPER = [path for path in HHD if path.stem.startswith('hhd_paper_')]
TCD = [path for path in DISTILLERS if path.stem.startswith('tcd_')]
#: the networks of OKDHP's paper, which MMPose does not have
OKDHP_PAPER = [path for path in OKDHP if path.stem.startswith('okdhp_paper_')]
MPII = [path for path in OKDHP if path.stem.endswith('_mpii') and path not in OKDHP_PAPER]
HOURGLASSES = [path for path in OKDHP if 'hourglass' in path.stem and path not in OKDHP_PAPER]

# OCD's and TCD's students that are on purpose another model than the inherited config's, and what
# of them is other.
RTMPOSE_S = {
    'backbone.deepen_factor', 'backbone.widen_factor', 'backbone.init_cfg.checkpoint',
    'head.in_channels',
}  # fmt: skip
OTHER_STUDENT = {
    'ocd_rtmpose-s_coco-wholebody': RTMPOSE_S,
    'tcd_rtmpose-s_coco-wholebody': RTMPOSE_S,
    'ocd_small_head_simcc_coco': {'head.deconv_out_channels'},
}  # fmt: skip
#: MMPose has only the heatmap model of their backbone for their data, and DeepPose for COCO.
DEEPPOSE_WHOLEBODY = ('ocd_deeppose_res50_coco-wholebody', 'tcd_deeppose_res50_coco-wholebody')

# Heads whose deconvolutions have 256 channels each if nothing is said of them.
WITH_DECONVOLUTIONS = (
    'HeatmapHead',
    'IntegralRegressionHead',
    'SimCCHead',
    'UnbiasedIntegralHead',
)


#: The method and model of another config, for other data or a run of another length: slow tests
#: take these too.
REPEATED = [
    CONFIGS / f'{name}.py'
    for name in (
        'dskd_hrnet-w32_ap10k', 'dskd_hrnet-w32_coco', 'dskd_hrnetv2_wflw',
        'dskd_litehrnet18_coco', 'dskd_litehrnet18_mpii',
        'dskd_mobilenetv2_mpii', 'dskd_paper_litehrnet18_coco', 'hhd_litehrnet18_mpii',
        'hhd_litehrnet30_coco', 'hhd_litehrnet30_mpii', 'hhd_mobilenetv2_mpii',
        'hhd_mobilenetv2_onehand10k', 'hhd_paper_litehrnet18_coco', 'hhd_paper_litehrnet18_mpii',
        'hhd_paper_litehrnet30_coco', 'hhd_paper_litehrnet30_mpii',
        'ocd_deeppose_res50_coco-wholebody', 'ocd_session_deeppose_res50_coco',
        'tcd_deeppose_res50_coco-wholebody', 'ocd_deeppose_res50_onehand10k',
        'ocd_rtmpose-m_ap10k', 'ocd_rtmpose-s_coco-wholebody', 'okdhp_hourglass4_coco',
        'okdhp_hourglass4_mpii', 'okdhp_hourglass4_unbalanced_mpii', 'okdhp_hourglass8_coco',
        'okdhp_hrnet_ap10k', 'okdhp_mobilenetv2_onehand10k', 'okdhp_res18_mpii',
        'okdhp_shufflenetv2_mpii', 'okdhp_hrnetv2_wflw', 'hhd_mobilenetv2_coco',
        'ocd_simcc_mobilenetv2_coco', 'tcd_rtmpose-s_coco-wholebody',
    )
] + [path for path in OKDHP_PAPER if path.stem != 'okdhp_paper_shufflenetv2_mpii']  # fmt: skip


def each(paths, slow=()):
    """Runs a test once for each config, as its argument ``path``; ``slow`` ones only if asked."""
    return pytest.mark.parametrize(
        'path',
        [pytest.param(p, id=p.stem, marks=[pytest.mark.slow] * (p in slow)) for p in paths],
    )


def on_meta(path):
    """The config and its model at full size, built without weights; made once for all tests."""
    init_default_scope('mmpose')  # of the test that asks
    return _on_meta(path)


@functools.cache
def _on_meta(path):
    cfg = Config.fromfile(path)
    with torch.device('meta'):
        return cfg, MODELS.build(cfg.model)


def load(path):
    """The config without pretrained weights, so that its model can be built offline."""
    cfg = Config.fromfile(path)
    init_default_scope('mmpose')
    offline(cfg.model)
    return cfg


def offline(node):
    """Without pretrained weights: tests fetch nothing. Teachers' configs stand in full."""
    if isinstance(node, dict):
        for i, teacher in enumerate(node.get('teachers') or []):
            teacher.update(config=model_config(teacher['config'], f'{i}'), checkpoint=None)
        if (node.get('init_cfg') or {}) and 'checkpoint' in str(node['init_cfg']):
            node['init_cfg'] = None
        for value in node.values():
            offline(value)
    return node


def shrunk(cfg):
    """The config with fewer layers of each kind, fewer channels and a smaller picture.

    Split, branches, neck, heads, losses, schedule and pipelines stay what they are; of hourglass
    stacks one is shared, and branches keep their lengths in proportion.
    """
    size = input_size_of(cfg)
    split = cfg.model.get('head', {}).get('split', '')
    hourglass = split.startswith('stack')
    shared = int(split.removeprefix('stack')) if hourglass else 1
    smaller = tuple(32 if length == min(size) else 64 for length in size)

    def small(node, key=None):
        if isinstance(node, dict):
            node = {k: small(v, k) for k, v in node.items()}
            if node.get('type') == 'ResNet' and node['depth'] >= 50:
                return {**node, 'stem_channels': 16, 'base_channels': 16}
            if node.get('type') == 'HourglassNet':  # the first is the width between stacks too
                return {
                    **node, 'downsample_times': 2, 'stage_channels': (256, 16, 16),
                    'stage_blocks': (1, 1, 1),
                }  # fmt: skip
            if node.get('type') == 'StackedHourglass':
                return {**node, 'downsample_times': 2, 'feat_channels': 16}
            if node.get('type') in WITH_DECONVOLUTIONS and node.get('deconv_out_channels', True):
                return {**node, 'deconv_out_channels': (16, 16, 16)}
            return node
        if key in ('input_size', 'heatmap_size', 'in_featuremap_size'):
            return tuple(n * new // old for n, new, old in zip(node, smaller, size))
        if key in ('num_modules', 'num_blocks'):
            return 1 if isinstance(node, int) else (1,) * len(node)
        if key in ('num_stacks', 'num_stages') and hourglass:
            return node // shared
        if key == 'split' and hourglass:
            return 'stack1'
        if key == 'in_channels' and node == 2048:  # of a ResNet
            return 512
        if isinstance(node, (list, tuple)):
            return type(node)(small(v) for v in node)
        return node

    return Config(small(cfg.to_dict()))


def inherited(path):
    """The names in a config's ``_base_``."""
    for line in ast.parse(path.read_text()).body:
        if isinstance(line, ast.Assign) and getattr(line.targets[0], 'id', '') == '_base_':
            return ast.literal_eval(line.value)
    return []


def upstream(path, folder):
    """The config of MMPose's own that a shipped config inherits, maybe by way of ours.

    It stands first in ``_base_``; what our configs share follows.
    """
    name = inherited(path)[0]
    return of_mmpose(name, folder) if '::' in name else upstream(path.parent / name, folder)


def of_mmpose(name, folder):
    """A config of MMPose's own, inherited by an empty one in ``folder``."""
    (folder / 'stock.py').write_text(f"_base_ = ['{name}']\n")
    return Config.fromfile(folder / 'stock.py')


def deeppose_wholebody(folder):
    """The plain config that :data:`DEEPPOSE_WHOLEBODY` train: COCO's, but for the keypoints."""
    name = 'topdown_regression/coco/td-reg_res50_8xb64-210e_coco-256x192.py'
    stock = of_mmpose(f'mmpose::body_2d_keypoint/{name}', folder)
    stock.model.head.num_joints = 133
    return stock


def flat(node, prefix=''):
    """The leaves of nested dicts by their dotted keys."""
    if not isinstance(node, dict):
        return {prefix[:-1]: node}
    return {k: v for key, value in node.items() for k, v in flat(value, f'{prefix}{key}.').items()}


def unscoped(node):
    """Without the marks that MMEngine leaves where a config was inherited."""
    if isinstance(node, dict):
        return {key: unscoped(value) for key, value in node.items() if key != '_scope_'}
    return type(node)(map(unscoped, node)) if isinstance(node, (list, tuple)) else node


def stock_part(cfg):
    """The stock model that is trained, or one like its branches."""
    model = cfg.model.get('student', cfg.model)
    head = model['head'].get('deploy', model['head'])
    return {**model, 'head': head.get('head', head)}


def packed(cfg, batch=2):
    """Data samples as the config's own last two steps make them."""
    steps = Compose([TRANSFORMS.build(s) for s in cfg.train_dataloader.dataset.pipeline[-2:]])
    head = stock_part(cfg)['head']
    k = head['num_joints' if 'num_joints' in head else 'out_channels']
    width, height = input_size_of(cfg)
    samples = []
    for _ in range(batch):
        results = dict(
            img=np.zeros((height, width, 3), dtype=np.uint8),
            input_size=(width, height),
            transformed_keypoints=np.random.rand(1, k, 2).astype(np.float32) * (width, height),
            keypoints_visible=np.ones((1, k), dtype=np.float32),
            dataset_keypoint_weights=np.ones(k, dtype=np.float32),
        )
        samples.append(steps(results)['data_samples'])
    return samples
