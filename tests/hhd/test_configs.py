"""The shipped configs of HHD have the release's run."""

from ..helpers.configs import HHD, each, on_meta


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
    # ours: a pretrained student loses with the release's weight, docs/pretrained_search.md
    assert model.distill[0].balance is not None and model.distill[0].weight == 10
    assert loss.settings == dict(norm_student='l2', norm_teacher='l2')
    coordinates, maps = head.loss_module.loss_modules
    assert maps.loss_weight == 0 and type(coordinates).__name__ == 'SmoothL1Loss'
    assert isinstance(cfg.model.teachers[0].checkpoint, str)
