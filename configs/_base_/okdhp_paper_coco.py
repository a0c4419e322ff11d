# What the configs of OKDHP's paper on COCO share: 256 x 192, data, schedule and losses as in the authors' release
# (https://github.com/zhengli97/OKDHP), evaluated on ground-truth boxes, as the authors did: such an AP is higher
# than one on detected boxes and does not compare with it. One GPU, batch 16. What MMPose's steps do otherwise:
# they draw scale and rotation from normal distributions truncated at one sigma; the release clips N(1, 0.3) to
# 0.7..1.3 and N(0, 40 degrees) to +-80 degrees. Ranges and probabilities are the same.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py', 'okdhp.py']

_stacked = dict(backbone=dict(type='StackedHourglass', out_channels=17, num_stacks=4), split='stack2')
_stacked_head = dict(  # the backbone makes the heatmaps: no layers
    type='CPMHead', in_channels=17, out_channels=17, num_stages=4, deconv_out_channels=None, final_layer=None,
    loss=_base_._released_loss, decoder=_base_.codec)
_weights = dict(  # release's defaults: alpha 6, beta 5, ramp-up over 60 epochs
    ensemble_weight=6.0, kd_loss=dict(loss_weight=5.0), kd_schedule=dict(type='ramp_up', epochs=60))
model = dict(
    data_preprocessor=dict(bgr_to_rgb=False),  # release: COLOR_RGB false, with the means of RGB
    backbone=dict(_delete_=True, type='SharedTrunk', **_stacked),
    head=dict(_base_._released, _delete_=True, head=_stacked_head, **_weights, **_stacked),
    test_cfg=dict(branch='all'))  # coco/AP of branch 0, branch<t>/coco/AP, ensemble/coco/AP

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    # scale +-0.3, rotation 40 (twice that is its limit); no half body
    dict(type='RandomBBoxTransform', shift_prob=0, scale_factor=(0.7, 1.3), rotate_factor=80),
    dict(type='TopdownAffine', input_size=_base_.codec.input_size),
    dict(type='GenerateTarget', encoder=_base_.codec),
    dict(type='PackPoseInputs')
]
train_cfg = dict(max_epochs=140, val_interval=1)  # paper: 140 epochs; milestones are those of its MPII run
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(bbox_file=None))  # release: USE_GT_BBOX
test_dataloader = dict(dataset=dict(bbox_file=None))
optim_wrapper = _base_._papers_run.optim_wrapper
param_scheduler = _base_._papers_run.param_scheduler
auto_scale_lr = _base_._papers_run.auto_scale_lr

# release: the best branch of any epoch is the result
default_hooks = dict(checkpoint=dict(save_best=['coco/AP', 'branch1/coco/AP', 'branch2/coco/AP']))
custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
