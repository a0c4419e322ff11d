"""Every shipped config: builds, trains a step, and exports to a stock model.

The default tests see each config twice: at its full size without weights or arithmetic (all
shapes and settings), and made cheap but with its own structure (a training step and a real
export). The slow one trains and exports each at its full size.
"""

import functools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from build import total
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmpose.registry import KEYPOINT_CODECS, MODELS, TRANSFORMS

from mmpose_kd.deployed import deployed_head
from mmpose_kd.export import _input_size, export_student
from mmpose_kd.hooks import DSKDHook
from mmpose_kd.models.distillers.guide_checks import check_fit
from mmpose_kd.models.distillers.model_config import model_config
from mmpose_kd.models.distillers.teacher import Teacher
from mmpose_kd.models.distillers.through_teacher_head import head_input_size
from mmpose_kd.models.heads.head_output import head_kind

CONFIGS = Path(__file__).parents[1] / 'configs'
ALL = sorted(CONFIGS.rglob('*.py'))
# what the demo inherits is among them
SHIPPED = [path for path in ALL if path.parent == CONFIGS]
OKDHP = [path for path in SHIPPED if path.stem.startswith('okdhp_')]
OCD = [path for path in SHIPPED if path.stem.startswith('ocd_')]
DSKD = [path for path in SHIPPED if path.stem.startswith('dskd_')]
DISTILLERS = [path for path in SHIPPED if path not in OKDHP + OCD + DSKD]
HHD = [path for path in DISTILLERS if path.stem.startswith('hhd_')]
TCD = [path for path in DISTILLERS if path.stem.startswith('tcd_')]
MPII = [path for path in OKDHP if path.stem.endswith('_mpii')]


def each(paths):
    return pytest.mark.parametrize('path', paths, ids=lambda p: p.stem)


every, okdhp = each(ALL), each(OKDHP)

# Where a student is on purpose another model than the one of the inherited config; the
# hourglasses have a test of their own.
OTHER_MODEL = {
    'okdhp_res18_mpii': {
        'model.backbone.depth', 'model.backbone.init_cfg.checkpoint', 'model.head.in_channels',
    },
}  # fmt: skip
# OCD's and TCD's students that are another model than the inherited config's, and what of them
# is other.
RTMPOSE_S = {
    'backbone.deepen_factor', 'backbone.widen_factor', 'backbone.init_cfg.checkpoint',
    'head.in_channels',
}  # fmt: skip
OTHER_STUDENT = {
    'ocd_rtmpose-s_coco-wholebody': RTMPOSE_S,
    'tcd_rtmpose-s_coco-wholebody': RTMPOSE_S,
    'ocd_small_head_simcc_coco': {'head.deconv_out_channels'},
}  # fmt: skip
HOURGLASSES = [path for path in SHIPPED if 'hourglass' in path.stem]
# What a schedule of the paper changes beside the model.
PAPERS_RUN = {'train_cfg', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr'}


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
    """The config with fewer layers of each kind and a smaller picture.

    Split, branches, neck, heads, losses, schedule and pipelines stay what they are.
    """
    size = _input_size(cfg)
    smaller = tuple(64 if length == min(size) else 128 for length in size)

    def small(node, key=None):
        if isinstance(node, dict):
            return {k: small(v, k) for k, v in node.items()}
        if key in ('input_size', 'heatmap_size', 'in_featuremap_size'):
            return tuple(n * new // old for n, new, old in zip(node, smaller, size))
        if key in ('num_modules', 'num_blocks', 'stage_blocks'):
            return 1 if isinstance(node, int) else (1,) * len(node)
        if key == 'stage_channels':  # the first is the width between stacks, the head's too
            return (node[0],) + (16,) * (len(node) - 1)
        if isinstance(node, (list, tuple)):
            return type(node)(small(v) for v in node)
        return node

    return Config(small(cfg.to_dict()))


@functools.cache
def on_meta(path):
    """The config and its model at full size, built without weights."""
    cfg = Config.fromfile(path)
    init_default_scope('mmpose')
    with torch.device('meta'):
        return cfg, MODELS.build(cfg.model)


def load(path):
    cfg = Config.fromfile(path)
    init_default_scope('mmpose')
    offline(cfg.model)
    return cfg


def upstream(path, folder):
    """The config of MMPose's own that a shipped config inherits, maybe by way of ours."""
    (name,) = re.findall(r"^_base_ = \['(\S+)'\]", path.read_text(), re.MULTILINE)
    if '::' not in name:
        return upstream(path.parent / name, folder)
    (folder / 'stock.py').write_text(f"_base_ = ['{name}']\n")
    return Config.fromfile(folder / 'stock.py')


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
    width, height = _input_size(cfg)
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


def train_a_step_and_export(cfg, folder):
    """Check both, and return the exported config; the weights are removed."""
    model = MODELS.build(cfg.model).train()
    model.init_weights()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    width, height = _input_size(cfg)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    loss = total(model.loss(torch.randn(2, 3, height, width), packed(cfg)))
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert any(not torch.equal(p, before[name]) for name, p in model.named_parameters())

    cfg.dump(folder / 'config.py')
    torch.save({'state_dict': model.state_dict()}, folder / 'epoch_1.pth')
    export_student(folder / 'config.py', folder / 'epoch_1.pth', folder / 'out')
    student = Config.fromfile(folder / 'out/student.py')
    stock = MODELS.build(student.model)
    state = torch.load(folder / 'out/student.pth', weights_only=True)['state_dict']
    stock.load_state_dict(state, strict=True)
    for weights in folder.rglob('*.pth'):
        weights.unlink()
    return student


def test_there_are_configs():
    assert CONFIGS / 'okdhp_hrnet_coco.py' in ALL
    assert MPII


@every
def test_config_trains_a_step_and_exports(path, tmp_path):
    """With few layers and a small picture, else as shipped; the slow test has the full size."""
    cfg = shrunk(load(path))
    student = train_a_step_and_export(cfg, tmp_path).to_dict()
    if path not in SHIPPED:
        return
    theirs = shrunk(upstream(path, tmp_path)).to_dict()
    changed = {key for key in theirs if unscoped(student.get(key)) != unscoped(theirs[key])}
    allowed = {'model'}
    if path in MPII + HOURGLASSES:
        allowed |= PAPERS_RUN
    elif path in HHD:  # coordinates as targets
        allowed |= {'codec', 'train_dataloader'}
    elif path in DISTILLERS:
        allowed |= {'optim_wrapper'}
    elif path.stem == 'ocd_deeppose_res50_coco-wholebody':  # MMPose has the heatmap model only
        allowed |= {'codec', 'train_dataloader'}
    elif path in DSKD:  # weights that it starts from, which the tests leave out
        assert student['model'] == offline(theirs['model'])
    assert changed <= allowed
    assert set(student) == set(theirs)


@pytest.mark.slow
@every
def test_config_trains_a_step_and_exports_at_full_size(path, tmp_path):
    train_a_step_and_export(load(path), tmp_path)


@each([path for path in ALL if path not in DISTILLERS + OCD + DSKD])
def test_every_branch_leaves_exactly_the_weights_of_its_stock_model(path):
    """At full size, but on meta tensors: names and shapes, no values."""
    cfg, model = on_meta(path)
    built = []  # branches that are alike leave the same stock model
    for t in range(cfg.model.head.num_branches):
        deployed = model.head.deployed(t)
        config = deployed.config(cfg.model.to_dict())
        if config not in [known for known, _ in built]:
            with torch.device('meta'):
                built.append((config, MODELS.build(config)))
        stock = next(model for known, model in built if known == config)
        ours = {k: v.shape for k, v in deployed.state_dict(model.state_dict()).items()}
        assert ours == {k: v.shape for k, v in stock.state_dict().items()}


@each([path for path in OKDHP if path not in HOURGLASSES])
def test_the_student_is_the_model_of_the_inherited_config(path, tmp_path):
    """At full size and with its pretrained weights, but for the listed exceptions."""
    cfg, model = on_meta(path)
    student = Config(dict(model=model.head.deployed().config(cfg.model.to_dict())))
    ours = flat(student.to_dict())
    theirs = flat(dict(model=upstream(path, tmp_path).to_dict()['model']))
    other = {k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)}
    assert other == OTHER_MODEL.get(path.stem, set())


@each(HOURGLASSES)
def test_the_student_is_the_papers_hourglass(path, tmp_path):
    """MMPose has none of its depth and width; what is around it is the inherited config's."""
    cfg, model = on_meta(path)
    stacks = int(re.search(r'hourglass(\d+)', path.stem).group(1))
    student = model.head.deployed().config(cfg.model.to_dict())
    backbone, head = student['backbone'], student['head']
    assert (backbone['type'], head['type']) == ('HourglassNet', 'CPMHead')
    assert backbone['num_stacks'] == head['num_stages'] == stacks
    assert backbone['downsample_times'] == 4
    assert (backbone['stage_channels'], backbone['stage_blocks']) == ((256,) * 5, (1,) * 5)
    theirs = flat(upstream(path, tmp_path).to_dict()['model'])
    ours = flat(Config(student).to_dict())
    other = {k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)}
    assert all(key.startswith(('backbone.', 'head.')) for key in other)


@okdhp
def test_config_reports_every_branch_and_keeps_the_inherited_hooks(path, tmp_path):
    cfg, theirs = Config.fromfile(path), upstream(path, tmp_path)
    assert cfg.model.test_cfg.branch == 'all'
    assert cfg.custom_hooks == [*theirs.custom_hooks, dict(type='BranchMetricsHook')]
    assert any(hook.type == 'SyncBuffersHook' for hook in cfg.custom_hooks)


@each([*MPII, *(path for path in HOURGLASSES if path not in MPII)])
def test_configs_of_the_papers_networks_have_its_schedule(path):
    cfg, model = on_meta(path)
    epochs, ramp = (150, 90) if path in MPII else (140, 60)
    assert cfg.train_cfg.max_epochs == epochs
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr) == ('Adam', 2.5e-4)
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 16
    (steps,) = cfg.param_scheduler
    assert steps.by_epoch and (steps.milestones, steps.gamma) == ([90, 120], 0.1)
    schedule = model.head.kd_schedule
    assert schedule.factor(ramp - 1, epochs) < 1 == schedule.factor(ramp, epochs)


@each(OCD)
def test_the_deployed_part_is_the_model_of_the_inherited_config(path, tmp_path):
    """At full size and with its pretrained weights, but for the listed exceptions."""
    cfg, model = on_meta(path)
    student = model.head.deployed().config(cfg.model.to_dict())
    with torch.device('meta'):
        plain = MODELS.build(student)
    ours = {k: v.shape for k, v in model.head.deployed().state_dict(model.state_dict()).items()}
    assert ours == {k: v.shape for k, v in plain.state_dict().items()}
    stock = upstream(path, tmp_path)
    if path.stem == 'ocd_deeppose_res50_coco-wholebody':  # COCO's, but for the keypoints
        name = 'topdown_regression/coco/td-reg_res50_8xb64-210e_coco-256x192.py'
        (tmp_path / 'coco.py').write_text(f"_base_ = ['mmpose::body_2d_keypoint/{name}']\n")
        stock = Config.fromfile(tmp_path / 'coco.py')
        stock.model.head.num_joints = 133
    ours, theirs = flat(Config(student).to_dict()), flat(stock.to_dict()['model'])
    told = [k for k in ours.keys() | theirs.keys() if not k.endswith('_scope_')]
    other = {k for k in told if ours.get(k, 'not given') != theirs.get(k, 'not given')}
    assert other == OTHER_STUDENT.get(path.stem, set())


@each(OCD)
def test_configs_of_ocd_report_both_heads_and_teach_places_between_pixels(path, tmp_path):
    cfg, model = on_meta(path)
    head, theirs = model.head, upstream(path, tmp_path)
    assert cfg.model.test_cfg.branch == 'all'
    assert cfg.custom_hooks[-1].type == 'BranchMetricsHook'
    kept = [hook.type for hook in cfg.custom_hooks[:-1]]
    assert kept == [hook.type for hook in theirs.custom_hooks]
    assert head.heatmap.decoder.unbiased and head.heatmap.decoder.sigma == 2
    for ours, stock in zip(pipelines(cfg), pipelines(theirs)):
        assert ours[-2]['encoder']['type'] == 'CrossRepresentationLabel'
        assert [*ours[:-2], ours[-1]] == [*stock[:-2], stock[-1]]


def pipelines(cfg):
    """Of the training, and of its last epochs if they have another."""
    cfg = unscoped(cfg.to_dict())
    later = [hook for hook in cfg['custom_hooks'] if 'switch_pipeline' in hook]
    return [
        cfg['train_dataloader']['dataset']['pipeline'],
        *(hook['switch_pipeline'] for hook in later),
    ]


@each(DISTILLERS)
def test_a_student_with_teachers_has_the_inherited_backbone_and_hooks(path, tmp_path):
    """At full size; the head is another one on purpose in HHD."""
    cfg, model = on_meta(path)
    theirs = upstream(path, tmp_path)
    student = model.deployed().config(cfg.model.to_dict())
    stock = theirs.to_dict()['model']
    if path.stem.startswith('hhd_litehrnet30'):
        theirs30 = theirs_of_litehrnet30(theirs, tmp_path)
        stock['backbone'] = theirs30['backbone']
    ours, stock = (flat(Config(one).to_dict()) for one in (student, stock))
    other = {k for k in ours.keys() | stock.keys() if ours.get(k) != stock.get(k)}
    if path in HHD:
        other = {k for k in other if k.startswith(('backbone.', 'data_preprocessor.'))}
    assert other == OTHER_STUDENT.get(path.stem, set())
    assert cfg.custom_hooks[-1] == dict(type='TeacherMetricsHook')
    if path in TCD:  # their targets come in all pipelines
        kept = [hook.type for hook in cfg.custom_hooks[:-1]]
        assert kept == [hook.type for hook in theirs.custom_hooks]
    else:
        assert cfg.custom_hooks[:-1] == theirs.custom_hooks
    with torch.device('meta'):
        plain = MODELS.build(student)
    ours = {k: v.shape for k, v in model.deployed().state_dict(model.state_dict()).items()}
    assert ours == {k: v.shape for k, v in plain.state_dict().items()}


@each(TCD)
def test_configs_of_tcd_teach_by_the_teachers_codec_in_all_pipelines(path, tmp_path):
    cfg, model = on_meta(path)
    task, cross = model.distill
    head = model.teachers[0].model.head
    assert isinstance(cfg.model.teachers[0].checkpoint, str)
    assert task.balance is not None and head_input_size(head) == (64, 48)
    assert cross.loss_module.codec is head.decoder
    for ours, stock in zip(pipelines(cfg), pipelines(upstream(path, tmp_path))):
        assert [*ours[:-2], ours[-1]] == [*stock[:-2], stock[-1]]
        codec = KEYPOINT_CODECS.build(ours[-2]['encoder'])
        for name in ('input_size', 'heatmap_size', 'sigma'):
            assert getattr(codec.heatmap, name) == getattr(head.decoder, name)
        assert codec.heatmap.unbiased


def theirs_of_litehrnet30(theirs, folder):
    """MMPose's own model for the same data set."""
    data, size = ('mpii', '256x256') if 'Mpii' in theirs.dataset_type else ('coco', '256x192')
    name = f'topdown_heatmap/{data}/td-hm_litehrnet-30_8xb64-210e_{data}-{size}.py'
    (folder / 'thirty.py').write_text(f"_base_ = ['mmpose::body_2d_keypoint/{name}']\n")
    return Config.fromfile(folder / 'thirty.py').to_dict()['model']


@each(DSKD)
def test_a_self_distilled_student_is_the_inherited_model_and_its_hook_knows_it(path, tmp_path):
    """At full size: nothing but the hook is added."""
    cfg, model = on_meta(path)
    theirs = upstream(path, tmp_path)
    ours, stock = cfg.to_dict(), theirs.to_dict()
    assert {key for key in ours if ours[key] != stock.get(key)} == {
        'custom_imports', 'custom_hooks',
    }  # fmt: skip
    *inherited, hook = cfg.custom_hooks
    assert inherited == theirs.custom_hooks
    settings = dict(hook)
    assert settings.pop('type') == 'DSKDHook'
    built = DSKDHook(**settings)
    assert head_kind(model.get_submodule(deployed_head(model))) == 'heatmap'
    epochs = cfg.train_cfg.max_epochs
    assert built.plan.steps(epochs) == [epochs // 3, 2 * epochs // 3]
    for entry in hook.get('teachers', []):
        with torch.device('meta'):
            check_fit(Teacher(**{**entry, 'checkpoint': None}), 'heatmap', model.head)


@each(HHD)
def test_configs_of_hhd_have_the_releases_run(path):
    cfg, model = on_meta(path)
    assert cfg.train_cfg.max_epochs == 210
    assert (cfg.optim_wrapper.optimizer.type, cfg.optim_wrapper.optimizer.lr) == ('Adam', 5e-4)
    warm_up, steps = cfg.param_scheduler
    assert (warm_up.by_epoch, warm_up.end) == (False, 500)
    assert (steps.milestones, steps.gamma) == ([170, 200], 0.1)
    head, teacher = model.student.head, model.teachers[0].model.head
    assert head.heatmap_size == tuple(teacher.decoder.heatmap_size)
    assert head.decoder.keypoint_codec.input_size == teacher.decoder.input_size
    assert head.beta == 10
    loss = model.distill[0].loss_module
    assert (loss.mode, loss.loss_weight, loss.crop_size) == ('released', 0.5, (8, 8))
    assert loss.settings == dict(norm_student='l2', norm_teacher='l2')
    coordinates, maps = head.loss_module.loss_modules
    assert maps.loss_weight == 0 and type(coordinates).__name__ == 'SmoothL1Loss'
    assert isinstance(cfg.model.teachers[0].checkpoint, str)


@each(SHIPPED)
def test_config_is_short(path):
    assert len(path.read_text().splitlines()) <= (40 if path in OKDHP else 60)


def test_the_model_index_has_every_shipped_config():
    models = yaml.safe_load((CONFIGS / 'metafile.yml').read_text())['Models']
    assert {model['Name']: model['Config'] for model in models} == {
        path.stem: f'configs/{path.name}' for path in SHIPPED
    }
