# OKDHP on a 4-stack hourglass, MPII 256 x 256: two stacks shared, two more per branch.
# Paper (https://arxiv.org/abs/2108.02092): PCKh@0.5 from 89.2 to 90.0; not yet trained by us.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/mpii/td-hm_hourglass52_8xb64-210e_mpii-256x256.py']
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

_split = 'stack2'  # paper: half of the stacks are shared
_backbone = dict(  # the paper's depth and width; MMPose's default is 94 M weights a stack
    type='HourglassNet',
    downsample_times=4,
    num_stacks=4,
    stage_channels=(256, 256, 256, 256, 256),
    stage_blocks=(1, 1, 1, 1, 1))
model = dict(
    backbone=dict(_delete_=True, type='SharedTrunk', backbone=_backbone, split=_split),
    head=dict(
        _delete_=True,
        type='OKDHPHead',
        backbone=_backbone,
        split=_split,
        head=dict(_base_.model.head, num_stages=4),
        num_branches=3,  # paper, section 4: T = 3
        # weights, temperature: the defaults of OKDHPHead, measured in docs/okdhp.md
        kd_schedule=dict(type='ramp_up', epochs=90)),  # release, MPII
    test_cfg=dict(branch='all'))  # PCK of branch 0, branch<t>/PCK, ensemble/PCK

# paper: Adam with 2.5e-4, one tenth from epochs 90 and 120 of 150 on, batch 16 (one GPU);
# MMPose's warm-up is left out
train_cfg = dict(max_epochs=150)
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
param_scheduler = [dict(type='MultiStepLR', milestones=[90, 120], gamma=0.1, by_epoch=True)]
auto_scale_lr = dict(base_batch_size=16)

custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
