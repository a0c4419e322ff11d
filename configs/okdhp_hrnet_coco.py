# OKDHP on HRNet-w32, COCO 256 x 192: stem and stages 1 to 3 shared, three branches of stage 4.
# Ours: HRNet is not in the paper (https://arxiv.org/abs/2108.02092); its numbers are for hourglasses.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py', '_base_/okdhp.py']

_cut = dict(backbone=_base_.model.backbone, split='stage3')
model = dict(
    backbone=dict(_delete_=True, type='SharedTrunk', **_cut),
    head=dict(_base_._okdhp, _delete_=True, head=_base_.model.head, **_cut),
    test_cfg=dict(branch='all'))  # coco/AP of branch 0, branch<t>/coco/AP, ensemble/coco/AP
custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
