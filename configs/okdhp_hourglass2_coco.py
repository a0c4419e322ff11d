# OKDHP on a 2-stack hourglass, COCO 256 x 192: one stack shared, one more per branch.
# Paper (https://arxiv.org/abs/2108.02092): AP from 71.7 to 72.8; not yet trained by us. Data as in
# MMPose's ResNet-50 (its hourglass is 256 x 256).
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py']
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

_split = 'stack1'  # paper: half of the stacks are shared
_backbone = dict(  # the paper's depth and width; MMPose's default is 94 M weights a stack
    type='HourglassNet',
    downsample_times=4,
    num_stacks=2,
    stage_channels=(256, 256, 256, 256, 256),
    stage_blocks=(1, 1, 1, 1, 1))
_head = dict(
    type='CPMHead',
    in_channels=256,
    out_channels=17,
    num_stages=2,
    loss=dict(type='KeypointMSELoss', use_target_weight=True),
    decoder=_base_.codec)
model = dict(
    backbone=dict(_delete_=True, type='SharedTrunk', backbone=_backbone, split=_split),
    head=dict(
        _delete_=True,
        type='OKDHPHead',
        backbone=_backbone,
        split=_split,
        head=_head,
        num_branches=3,  # paper, section 4: T = 3
        # weights, temperature: the defaults of OKDHPHead, measured in docs/okdhp.md
        kd_schedule=dict(type='ramp_up', epochs=60)),  # release's default away from MPII
    test_cfg=dict(branch='all'))  # coco/AP of branch 0, branch<t>/coco/AP, ensemble/coco/AP

# paper: 140 epochs; rate, batch and milestones are those of its MPII run
train_cfg = dict(max_epochs=140)
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
param_scheduler = [dict(type='MultiStepLR', milestones=[90, 120], gamma=0.1, by_epoch=True)]
auto_scale_lr = dict(base_batch_size=16)
custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
