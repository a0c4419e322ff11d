# OKDHP on HRNetV2-w18, faces, WFLW 256 x 256: stem and stages 1 to 3 shared, three stages 4.
# Ours: neither HRNet nor faces are in the paper (https://arxiv.org/abs/2108.02092).
_base_ = ['mmpose::face_2d_keypoint/topdown_heatmap/wflw/td-hm_hrnetv2-w18_8xb64-60e_wflw-256x256.py', '_base_/okdhp.py']

_cut = dict(backbone=_base_.model.backbone, split='stage3')
model = dict(
    backbone=dict(_delete_=True, type='SharedTrunk', **_cut),
    neck=None,  # comes after the split, so it belongs to the branches
    head=dict(_base_._okdhp, _delete_=True, neck=_base_.model.neck, head=_base_.model.head, **_cut),
    test_cfg=dict(branch='all'))  # NME of branch 0, branch<t>/NME, ensemble/NME
custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
