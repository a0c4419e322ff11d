# OKDHP on HRNet-w32, animals, AP-10K 256 x 256: stem and stages 1 to 3 shared, three stages 4.
# Neither HRNet nor animals are in the paper (https://arxiv.org/abs/2108.02092).
_base_ = ['mmpose::animal_2d_keypoint/topdown_heatmap/ap10k/td-hm_hrnet-w32_8xb64-210e_ap10k-256x256.py']
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

_split = 'stage3'
model = dict(
    backbone=dict(
        _delete_=True, type='SharedTrunk', backbone=_base_.model.backbone, split=_split),
    head=dict(
        _delete_=True,
        type='OKDHPHead',
        backbone=_base_.model.backbone,
        split=_split,
        head=_base_.model.head,
        num_branches=3,  # paper, section 4: T = 3
        # weights, temperature: the defaults of OKDHPHead, measured in docs/okdhp.md
        kd_schedule=dict(type='ramp_up', epochs=0.6)),  # release, MPII: 90 of 150 epochs
    test_cfg=dict(branch='all'))  # coco/AP of branch 0, branch<t>/coco/AP, ensemble/coco/AP

custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
