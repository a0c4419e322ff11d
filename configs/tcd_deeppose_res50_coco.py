# TCD: DeepPose (ResNet-50) learns from HRNet-w48's heatmaps and through its frozen head. COCO, 256 x 192.
# Ours: the abstract has no model and no number for TCD. Its plain DeepPose is 52.8 AP, MMPose's of this config 54.1.
# Sources of the shared numbers: _base_/tcd.py. Not yet trained by us.
_base_ = ['mmpose::body_2d_keypoint/topdown_regression/coco/td-reg_res50_8xb64-210e_coco-256x192.py', '_base_/tcd.py']

_adapter = dict(_base_._tcd_adapter, in_channels=2048)  # a 1 x 1 convolution, 2048 x 8 x 6 to 48 x 64 x 48
_cross = dict(
    name='cross', loss=dict(type='CrossCoordinateLoss'), student='head', teacher='head',
    weight=1.0)  # ours: it has the form and the unit of the student's loss
model = dict(
    _delete_=True,
    type='PoseDistiller',
    student=_base_.model,
    teachers=[_base_._teachers.hrnet_w48_coco],
    distill=[dict(_base_._tcd_task, adapter=_adapter), _cross])

_codec = dict(type='CrossRepresentationLabel', deploy=_base_.codec, heatmap=_base_._gaussians_256x192)
_targets = [dict(type='GenerateTarget', encoder=_codec), dict(type='PackPoseInputs')]
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_pipeline[:-2], *_targets]))
custom_hooks = [*_base_.custom_hooks, dict(type='TeacherMetricsHook')]
