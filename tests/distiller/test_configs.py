"""The shipped configs with a teacher: the student is the inherited model."""

import torch
from mmengine.config import Config
from mmpose.registry import MODELS

from ..helpers.configs import (
    DEEPPOSE_WHOLEBODY,
    DISTILLERS,
    HHD,
    OTHER_STUDENT,
    REPEATED,
    TCD,
    deeppose_wholebody,
    each,
    flat,
    of_mmpose,
    on_meta,
    upstream,
)


@each(DISTILLERS, slow=REPEATED)
def test_a_student_with_teachers_has_the_inherited_backbone_and_hooks(path, tmp_path):
    """At full size; the head is another one on purpose in HHD."""
    cfg, model = on_meta(path)
    theirs = upstream(path, tmp_path)
    student = model.deployed().config(cfg.model.to_dict())
    stock = theirs.to_dict()['model']
    if path.stem in DEEPPOSE_WHOLEBODY:
        stock = deeppose_wholebody(tmp_path).to_dict()['model']
    if 'litehrnet30' in path.stem:
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


def theirs_of_litehrnet30(theirs, folder):
    """MMPose's own model for the same data set."""
    data, size = ('mpii', '256x256') if 'Mpii' in theirs.dataset_type else ('coco', '256x192')
    name = f'topdown_heatmap/{data}/td-hm_litehrnet-30_8xb64-210e_{data}-{size}.py'
    return of_mmpose(f'mmpose::body_2d_keypoint/{name}', folder).to_dict()['model']
