# Balanced OKDHP: stem and stages 1 and 2 shared, three equal branches of stages 3, 4 and decoder.
_base_ = ['plain_res18-w16_lspet.py']

model = dict(
    backbone=dict(
        _delete_=True, type='SharedTrunk', backbone=_base_.model.backbone, split='stage2'),
    head=dict(
        _delete_=True,
        type='OKDHPHead',
        backbone=_base_.model.backbone,
        split='stage2',
        head=_base_.model.head,
        num_branches=3),
    test_cfg=dict(branch='all'))
custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
