# OKDHP on MobileNetV2, hands, OneHand10K 256 x 256, and beside it a light branch on finer features.
# Ours: the paper (https://arxiv.org/abs/2108.02092) has no hands, and other branches.
_base_ = [
    'mmpose::hand_2d_keypoint/topdown_heatmap/onehand10k/td-hm_mobilenetv2_8xb64-210e_onehand10k-256x256.py',
    '_base_/okdhp.py'
]

_cut = dict(backbone=_base_.model.backbone, split='end')
_sibling = dict(stop='stage5', head=dict(_base_._light, in_channels=96))
model = dict(
    backbone=dict(_delete_=True, type='SharedTrunk', **_cut),
    head=dict(
        _base_._okdhp_sibling, _delete_=True, head=_base_.model.head, branches=[dict(), _sibling], **_cut),
    test_cfg=dict(branch='all'))  # AUC of branch 0, branch<t>/AUC, ensemble/AUC; PCK, EPE too
custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
