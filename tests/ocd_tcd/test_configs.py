"""The shipped configs of OCD and TCD: students, and targets of two representations."""

import torch
from mmengine.config import Config
from mmpose.registry import KEYPOINT_CODECS, MODELS

from mmpose_kd.ocd_tcd.entry import head_input_size

from ..helpers.configs import (
    CONFIGS,
    DEEPPOSE_WHOLEBODY,
    OCD,
    OTHER_STUDENT,
    REPEATED,
    TCD,
    deeppose_wholebody,
    each,
    flat,
    on_meta,
    unscoped,
    upstream,
)


def pipelines(cfg):
    """Of the training, and of its last epochs if they have another."""
    cfg = unscoped(cfg.to_dict())
    later = [hook for hook in cfg['custom_hooks'] if 'switch_pipeline' in hook]
    return [
        cfg['train_dataloader']['dataset']['pipeline'],
        *(hook['switch_pipeline'] for hook in later),
    ]


@each(OCD, slow=REPEATED)
def test_the_deployed_part_is_the_model_of_the_inherited_config(path, tmp_path):
    """At full size and with its pretrained weights, but for the listed exceptions."""
    cfg, model = on_meta(path)
    student = model.head.deployed().config(cfg.model.to_dict())
    with torch.device('meta'):
        plain = MODELS.build(student)
    ours = {k: v.shape for k, v in model.head.deployed().state_dict(model.state_dict()).items()}
    assert ours == {k: v.shape for k, v in plain.state_dict().items()}
    stock = upstream(path, tmp_path)
    if path.stem in DEEPPOSE_WHOLEBODY:
        stock = deeppose_wholebody(tmp_path)
    ours, theirs = flat(Config(student).to_dict()), flat(stock.to_dict()['model'])
    keys = [k for k in ours.keys() | theirs.keys() if not k.endswith('_scope_')]
    other = {k for k in keys if ours.get(k, 'not given') != theirs.get(k, 'not given')}
    assert other == OTHER_STUDENT.get(path.stem, set())


@each(OCD, slow=REPEATED)
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


@each(TCD, slow=REPEATED)
def test_configs_of_tcd_teach_by_the_teachers_codec_in_all_pipelines(path, tmp_path):
    cfg, model = on_meta(path)
    task, cross = model.distill
    head = model.teachers[0].model.head
    assert isinstance(cfg.model.teachers[0].checkpoint, str)
    assert task.balance is not None and head_input_size(head, 'teachers[0].config') == (64, 48)
    assert cross.loss_module.codec is head.decoder
    for ours, stock in zip(pipelines(cfg), pipelines(upstream(path, tmp_path))):
        assert [*ours[:-2], ours[-1]] == [*stock[:-2], stock[-1]]
        codec = KEYPOINT_CODECS.build(ours[-2]['encoder'])
        for name in ('input_size', 'heatmap_size', 'sigma'):
            assert getattr(codec.heatmap, name) == getattr(head.decoder, name)
        assert codec.heatmap.unbiased


def test_the_papers_case_starts_from_the_plain_run_that_it_is_compared_with():
    """As a whole training, and as a session of a model that is trained already."""
    whole, session = (
        Config.fromfile(CONFIGS / f'ocd{name}_deeppose_res50_coco.py') for name in ('', '_session')
    )
    assert whole.load_from is None and whole.train_cfg.max_epochs == 210
    assert 'td-reg_res50_8xb64-210e_coco-256x192-' in session.load_from
    assert session.train_cfg.max_epochs == 20 < 210
    assert max(session.param_scheduler[1].milestones) < 20
    assert session.model == whole.model
