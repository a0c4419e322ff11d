# OKDHP on MobileNetV2, hands, OneHand10K 256 x 256: the whole backbone shared, three decoders.
# Ours: the paper (https://arxiv.org/abs/2108.02092) has no hands; it splits MobileNetV2 like this.
_base_ = [
    'mmpose::hand_2d_keypoint/topdown_heatmap/onehand10k/td-hm_mobilenetv2_8xb64-210e_onehand10k-256x256.py',
    '_base_/okdhp.py'
]

_cut = dict(backbone=_base_.model.backbone, split='end')
model = dict(
    backbone=dict(_delete_=True, type='SharedTrunk', **_cut),
    head=dict(_base_._okdhp, _delete_=True, head=_base_.model.head, **_cut),
    test_cfg=dict(branch='all'))  # AUC of branch 0, branch<t>/AUC, ensemble/AUC; PCK, EPE too
custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
