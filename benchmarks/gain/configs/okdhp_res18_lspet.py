# The same network with OKDHP: backbone shared, three deconvolution decoders.
_base_ = ['plain_res18_lspet.py']

model = dict(
    backbone=dict(
        _delete_=True, type='SharedTrunk', backbone=_base_.model.backbone, split='end'),
    head=dict(
        _delete_=True,
        type='OKDHPHead',
        backbone=_base_.model.backbone,
        split='end',
        head=_base_.model.head,
        num_branches=3),
    test_cfg=dict(branch='all'))
custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
