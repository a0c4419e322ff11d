"""The shipped configs of DSKD: the inherited model and one hook."""

from pathlib import Path

import mmpose
import torch
import yaml

from mmpose_kd.core.deployed import deployed_head
from mmpose_kd.core.head_output import head_kind
from mmpose_kd.distiller.teacher import Teacher
from mmpose_kd.dskd.guides import check_fit
from mmpose_kd.dskd.hook import DSKDHook

from ..helpers.configs import DSKD, REPEATED, each, inherited, on_meta, upstream


def weights_of(path):
    """Address of the weights that MMPose published for a shipped config's own base."""
    base = inherited(path)[0].partition('::')[2]
    found = [
        model['Weights']
        for file in (Path(mmpose.__file__).parent / '.mim/configs').rglob('*.yml')
        if Path(base).stem in file.read_text(encoding='utf-8')
        for model in yaml.safe_load(file.read_text(encoding='utf-8'))['Models']
        if str(model['Config']).endswith(base)
    ]
    (address,) = found
    return address


@each(DSKD, slow=REPEATED)
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
    assert built.plan.steps(cfg.train_cfg.max_epochs) == []  # no copies of the run itself
    if path.stem == 'dskd_paper_litehrnet18_coco':  # its guides are those of `generations`
        assert 'guides' not in hook and (built.guidance.form, len(hook.teachers)) == ('hard', 1)
        assert built.guidance.cls_loss.form == 'bce'
    else:
        assert hook.guides == [weights_of(path)]
    for entry in hook.get('teachers', []):
        with torch.device('meta'):
            check_fit(Teacher(**{**entry, 'checkpoint': None}), 'heatmap', model.head)
