"""The shipped configs of HHD have the release's run; the paper's have its settings in full."""

from mmengine.config import Config
from mmpose.registry import TRANSFORMS

from ..helpers.configs import HHD, HHD_PAPER, REPEATED, each, on_meta


@each(HHD, slow=REPEATED)
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
    if path not in HHD_PAPER:
        # ours: a pretrained student loses with the release's weight, docs/pretrained_search.md
        assert model.distill[0].balance is not None and model.distill[0].weight == 10
    assert loss.settings == dict(norm_student='l2', norm_teacher='l2')
    coordinates, maps = head.loss_module.loss_modules
    assert maps.loss_weight == 0 and type(coordinates).__name__ == 'SmoothL1Loss'
    assert isinstance(cfg.model.teachers[0].checkpoint, str)


@each(HHD_PAPER)
def test_the_papers_configs_have_the_releases_settings(path):
    cfg = Config.fromfile(path)
    [entry] = cfg.model.distill
    assert entry.loss == dict(type='HHDLoss', mode='released', use_target_weight=False)
    assert not {'balance', 'weight', 'schedule'} & set(entry)  # its weight is in the loss
    assert cfg.model.student.init_cfg is None
    assert cfg.model.student.backbone.get('init_cfg') is None  # from scratch
    assert cfg.train_dataloader.batch_size == (32 if 'litehrnet30' in path.stem else 64)
    assert 'hrnet-w48' in cfg.model.teachers[0].config
    pipeline = cfg.train_dataloader.dataset.pipeline
    [jitter] = [step for step in pipeline if step.type == 'RandomBBoxTransform']
    built = TRANSFORMS.build(jitter)
    assert built.rotate_factor == 80 and tuple(built.scale_factor) == (0.5, 1.5)
    kinds = [step.type for step in pipeline]
    if path.stem.endswith('_mpii'):
        assert built.shift_prob == 0 and 'RandomHalfBody' not in kinds and 'RandomFlip' in kinds
