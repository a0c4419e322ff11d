# TCD: RTMPose-s learns from HRNet-w48's heatmaps and through its frozen head. COCO-WholeBody, 256 x 192.
# Ours: the abstract has this data set, but names no model for it. Sources: _base_/tcd.py. Not yet trained by us.
_base_ = ['_base_/rtmpose-s_coco-wholebody.py', '_base_/tcd.py']

_adapter = dict(_base_._tcd_adapter, in_channels=512)  # a 1 x 1 convolution, 512 x 8 x 6 to 48 x 64 x 48
_cross = dict(
    name='cross', loss=dict(type='CrossSimCCLoss'), student=('head.cls_x', 'head.cls_y'), teacher='head',
    weight=0.1)  # ours, after the logit loss of DWPose: also a KL summed over the bins
model = dict(
    _delete_=True, type='PoseDistiller', student=_base_.model,
    teachers=[_base_._teachers.hrnet_w48_coco_wholebody],
    distill=[dict(_base_._tcd_task, adapter=_adapter), _cross])

_codec = dict(type='CrossRepresentationLabel', deploy=_base_.codec, heatmap=_base_._gaussians_256x192)
_targets = [dict(type='GenerateTarget', encoder=_codec), dict(type='PackPoseInputs')]
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_pipeline[:-2], *_targets]))
custom_hooks = [
    _base_.custom_hooks[0],  # EMA
    dict(_base_.custom_hooks[1], switch_pipeline=[*_base_.train_pipeline_stage2[:-2], *_targets]),
    dict(type='TeacherMetricsHook')
]
