# Ours, not the paper's network: OKDHP on MMPose's MobileNetV2, MPII 256 x 256, and beside it a light branch on finer
# features; the student is a stock MMPose model. The paper's (https://arxiv.org/abs/2108.02092):
# okdhp_paper_mobilenetv2_mpii.py. Schedule as in the paper. Not yet trained by us.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/mpii/td-hm_mobilenetv2_8xb64-210e_mpii-256x256.py', '_base_/okdhp.py']

_cut = dict(backbone=_base_.model.backbone, split='end')
_sibling = dict(stop='stage5', head=dict(_base_._light, in_channels=96))
model = dict(
    backbone=dict(_delete_=True, type='SharedTrunk', **_cut),
    head=dict(
        _base_._okdhp_sibling_mpii, _delete_=True, head=_base_.model.head, branches=[dict(), _sibling], **_cut),
    test_cfg=dict(branch='all'))  # PCK of branch 0, branch<t>/PCK, ensemble/PCK

train_cfg = _base_._papers_run.train_cfg
train_dataloader = _base_._papers_run.train_dataloader
optim_wrapper = _base_._papers_run.optim_wrapper
param_scheduler = _base_._papers_run.param_scheduler
auto_scale_lr = _base_._papers_run.auto_scale_lr

custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
