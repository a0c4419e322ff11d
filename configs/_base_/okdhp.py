# What the configs of OKDHP share. A config picks what it needs, as `_base_._okdhp`; but for the import
# nothing here acts by itself.
# Paper: https://arxiv.org/abs/2108.02092.
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

_okdhp = dict(  # weights, temperature: the defaults of OKDHPHead, measured in docs/okdhp.md
    type='OKDHPHead',
    num_branches=3,  # paper, section 4: T = 3
    kd_schedule=dict(type='ramp_up', epochs=0.6))  # release, MPII: 90 of 150 epochs
# Networks with deconvolutions: beside the deployed branch a light one on finer features, see docs/okdhp.md#light-sibling
_okdhp_sibling = dict(_okdhp, num_branches=2, kd_loss=dict(loss_weight=1000.0))
_light = dict(deconv_out_channels=(64, 64), deconv_kernel_sizes=(4, 4))

# For MMPose's networks on the paper's schedule:
_okdhp_mpii = dict(_okdhp, kd_schedule=dict(type='ramp_up', epochs=90))  # release, MPII
_okdhp_sibling_mpii = dict(_okdhp_sibling, kd_schedule=dict(type='ramp_up', epochs=90))
_hourglass = dict(  # as often halved and as wide as the paper's, of other blocks: 17 M weights a stack (default: 94 M)
    type='HourglassNet',
    downsample_times=4,
    stage_channels=(256, 256, 256, 256, 256),
    stage_blocks=(1, 1, 1, 1, 1))
# paper, 4-stack hourglass on MPII: Adam with 2.5e-4, one tenth from epochs 90 and 120 of 150 on,
# batch 16 (one GPU); MMPose's warm-up is left out
_papers_run = dict(
    train_cfg=dict(max_epochs=150),
    train_dataloader=dict(batch_size=16),
    optim_wrapper=dict(optimizer=dict(lr=2.5e-4)),
    param_scheduler=[dict(type='MultiStepLR', milestones=[90, 120], gamma=0.1, by_epoch=True)],
    auto_scale_lr=dict(base_batch_size=16))

# For the paper's own networks (okdhp_paper_*): the release's losses and FAU (the one in the paper's figure is
# fau.form='paper'). The preset's weights are those of the MPII run: alpha 1, beta 2, ramp-up over 90 epochs
_released = dict(
    type='OKDHPHead', num_branches=3, preset='released', fau=dict(type='FAU', form='released'))
_released_loss = dict(type='JointsMSELoss')
