"""The shipped configs of DSKD: the inherited model and one hook."""

import torch

from mmpose_kd.core.deployed import deployed_head
from mmpose_kd.core.head_output import head_kind
from mmpose_kd.distiller.teacher import Teacher
from mmpose_kd.dskd.guides import check_fit
from mmpose_kd.dskd.hook import DSKDHook

from ..helpers.configs import DSKD, each, on_meta, upstream


@each(DSKD)
def test_a_self_distilled_student_is_the_inherited_model_and_its_hook_knows_it(path, tmp_path):
    """At full size: nothing but the hook is added."""
    cfg, model = on_meta(path)
    theirs = upstream(path, tmp_path)
    ours, stock = cfg.to_dict(), theirs.to_dict()
    changed = {key for key in ours if ours[key] != stock.get(key) and not key.startswith('_')}
    assert changed == {'custom_imports', 'custom_hooks'}
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
