# OKDHP on HRNet-w32, animals, AP-10K 256 x 256: stem and stages 1 to 3 shared, three stages 4.
# Ours: neither HRNet nor animals are in the paper (https://arxiv.org/abs/2108.02092).
_base_ = ['mmpose::animal_2d_keypoint/topdown_heatmap/ap10k/td-hm_hrnet-w32_8xb64-210e_ap10k-256x256.py', '_base_/okdhp.py']

_cut = dict(backbone=_base_.model.backbone, split='stage3')
model = dict(
    backbone=dict(_delete_=True, type='SharedTrunk', **_cut),
    head=dict(_base_._okdhp, _delete_=True, head=_base_.model.head, **_cut),
    test_cfg=dict(branch='all'))  # coco/AP of branch 0, branch<t>/coco/AP, ensemble/coco/AP
custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
