# What the configs of OKDHP's paper on MPII share: data, schedule, losses and evaluation as in the authors'
# release (https://github.com/zhengli97/OKDHP) and in the author's 4-stack run (its issue 2). One GPU, batch 16.
# What MMPose's steps do otherwise: they draw scale and rotation from normal distributions truncated at one sigma;
# the release clips N(1, 0.25) to 0.75..1.25 and N(0, 30 degrees) to +-60 degrees. Ranges and
# probabilities are the same.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/mpii/td-hm_hourglass52_8xb64-210e_mpii-256x256.py', 'okdhp.py']

# a stacked hourglass, of which configs change the number of stacks; others put their own network in its place
_stacked = dict(backbone=dict(type='StackedHourglass', out_channels=16, num_stacks=4), split='stack2')
_stacked_head = dict(  # the backbone makes the heatmaps: no layers
    type='CPMHead', in_channels=16, out_channels=16, num_stages=4, deconv_out_channels=None, final_layer=None,
    loss=_base_._released_loss, decoder=_base_.codec)
model = dict(
    data_preprocessor=dict(bgr_to_rgb=False),  # release: COLOR_RGB false, with the means of RGB
    backbone=dict(_delete_=True, type='SharedTrunk', **_stacked),
    head=dict(_base_._released, _delete_=True, head=_stacked_head, **_stacked),
    test_cfg=dict(branch='all'))  # PCK of branch 0, branch<t>/PCK, ensemble/PCK

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    # release: SCALE_FACTOR 0.25, ROT_FACTOR 30 (twice that is its limit); no half body
    dict(type='RandomBBoxTransform', shift_prob=0, scale_factor=(0.75, 1.25), rotate_factor=60),
    dict(type='TopdownAffine', input_size=_base_.codec.input_size),
    dict(type='GenerateTarget', encoder=_base_.codec),
    dict(type='PackPoseInputs')
]
train_cfg = dict(max_epochs=150, val_interval=1)
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))
optim_wrapper = _base_._papers_run.optim_wrapper
param_scheduler = _base_._papers_run.param_scheduler
auto_scale_lr = _base_._papers_run.auto_scale_lr

# release: the best branch of any epoch is the result
default_hooks = dict(checkpoint=dict(save_best=['PCK', 'branch1/PCK', 'branch2/PCK']))
custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
