# Ours, not the paper's network: OKDHP on MMPose's hourglass, 2 stacks, COCO 256 x 192, one stack shared, one more
# per branch; students are stock MMPose models. The paper's (https://arxiv.org/abs/2108.02092):
# okdhp_paper_hourglass2_coco.py. Not yet trained by us. Data as in MMPose's ResNet-50 (its hourglass is 256 x
# 256), schedule as in the paper.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py', '_base_/okdhp.py']

_cut = dict(backbone=dict(_base_._hourglass, num_stacks=2), split='stack1')  # paper: half of the stacks are shared
_loss = dict(type='KeypointMSELoss', use_target_weight=True)
_head = dict(type='CPMHead', in_channels=256, out_channels=17, num_stages=2, loss=_loss, decoder=_base_.codec)
_ramp_up = dict(type='ramp_up', epochs=60)  # release's default away from MPII
model = dict(
    backbone=dict(_delete_=True, type='SharedTrunk', **_cut),
    head=dict(_base_._okdhp, _delete_=True, head=_head, kd_schedule=_ramp_up, **_cut),
    test_cfg=dict(branch='all'))  # coco/AP of branch 0, branch<t>/coco/AP, ensemble/coco/AP

# paper: 140 epochs; rate, batch and milestones are those of its MPII run
train_cfg = dict(max_epochs=140)
train_dataloader = _base_._papers_run.train_dataloader
optim_wrapper = _base_._papers_run.optim_wrapper
param_scheduler = _base_._papers_run.param_scheduler
auto_scale_lr = _base_._papers_run.auto_scale_lr

custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
