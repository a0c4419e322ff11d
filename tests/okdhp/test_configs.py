"""The shipped configs of OKDHP: students, hooks, and the schedule of the paper."""

import re

import torch
from mmengine.config import Config
from mmpose.registry import MODELS

from ..helpers.configs import (
    DISTILLERS,
    DSKD,
    HOURGLASSES,
    MPII,
    OCD,
    OKDHP,
    OKDHP_PAPER,
    REPEATED,
    SHIPPED,
    each,
    flat,
    on_meta,
    upstream,
)

# Where a student is on purpose another model than the one of the inherited config; the
# hourglasses have a test of their own.
OTHER_MODEL = {
    'okdhp_res18_mpii': {
        'model.backbone.depth', 'model.backbone.init_cfg.checkpoint', 'model.head.in_channels',
    },
}  # fmt: skip


@each([path for path in SHIPPED if path not in DISTILLERS + OCD + DSKD], slow=REPEATED)
def test_every_branch_leaves_exactly_the_weights_of_its_stock_model(path):
    """At full size, but on meta tensors: names and shapes, no values."""
    cfg, model = on_meta(path)
    built = []  # branches that are alike leave the same stock model
    for t in range(cfg.model.head.num_branches):
        deployed = model.head.deployed(t)
        if deployed.why_not:
            assert t != model.head.deploy_branch
            continue
        config = deployed.config(cfg.model.to_dict())
        if config not in [known for known, _ in built]:
            with torch.device('meta'):
                built.append((config, MODELS.build(config)))
        stock = next(model for known, model in built if known == config)
        ours = {k: v.shape for k, v in deployed.state_dict(model.state_dict()).items()}
        assert ours == {k: v.shape for k, v in stock.state_dict().items()}


@each([path for path in OKDHP if path not in HOURGLASSES + OKDHP_PAPER], slow=REPEATED)
def test_the_student_is_the_model_of_the_inherited_config(path, tmp_path):
    """At full size and with its pretrained weights, but for the listed exceptions."""
    cfg, model = on_meta(path)
    student = Config(dict(model=model.head.deployed().config(cfg.model.to_dict())))
    ours = flat(student.to_dict())
    theirs = flat(dict(model=upstream(path, tmp_path).to_dict()['model']))
    other = {k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)}
    assert other == OTHER_MODEL.get(path.stem, set())


@each(HOURGLASSES, slow=REPEATED)
def test_the_student_is_mmposes_hourglass_in_the_papers_depth_and_width(path, tmp_path):
    """MMPose's own configs have other ones; what is around it is the inherited config's."""
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


@each(OKDHP)
def test_config_reports_every_branch_and_keeps_the_inherited_hooks(path, tmp_path):
    cfg, theirs = Config.fromfile(path), upstream(path, tmp_path)
    assert cfg.model.test_cfg.branch == 'all'
    assert cfg.custom_hooks == [*theirs.custom_hooks, dict(type='BranchMetricsHook')]
    assert any(hook.type == 'SyncBuffersHook' for hook in cfg.custom_hooks)


@each([*MPII, *(p for p in HOURGLASSES if p not in MPII), *OKDHP_PAPER], slow=REPEATED)
def test_configs_named_like_the_papers_have_its_schedule(path):
    cfg, model = on_meta(path)
    epochs, ramp = (150, 90) if path.stem.endswith('_mpii') else (140, 60)
    assert cfg.train_cfg.max_epochs == epochs
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr) == ('Adam', 2.5e-4)
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 16
    (steps,) = cfg.param_scheduler
    assert steps.by_epoch and (steps.milestones, steps.gamma) == ([90, 120], 0.1)
    schedule = model.head.kd_schedule
    assert schedule.factor(ramp - 1, epochs) < 1 == schedule.factor(ramp, epochs)
