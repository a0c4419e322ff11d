# OKDHP on MobileNetV2, hands, OneHand10K 256 x 256: the whole backbone shared, three decoders.
# The paper (https://arxiv.org/abs/2108.02092) has no hands; it splits MobileNetV2 like this.
_base_ = ['mmpose::hand_2d_keypoint/topdown_heatmap/onehand10k/td-hm_mobilenetv2_8xb64-210e_onehand10k-256x256.py']
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

_split = 'end'
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
    test_cfg=dict(branch='all'))  # AUC of branch 0, branch<t>/AUC, ensemble/AUC; PCK, EPE too

custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
