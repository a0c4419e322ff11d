# TCD: DeepPose (ResNet-50) learns from HRNet-w48's heatmaps and through its frozen head. COCO-WholeBody, 256 x 192.
# Ours: the abstract has this data set, but names no model for it. Sources: _base_/tcd.py. Not yet trained by us.
_base_ = [
    'mmpose::wholebody_2d_keypoint/topdown_heatmap/coco-wholebody/td-hm_res50_8xb64-210e_coco-wholebody-256x192.py',
    '_base_/tcd.py'
]

# DeepPose: MMPose has it for COCO, and for this data set the heatmap model of the same backbone
codec = dict(_delete_=True, type='RegressionLabel', input_size=(192, 256))
_regression = dict(type='RegressionLabel', input_size=(192, 256))
_loss = dict(type='SmoothL1Loss', use_target_weight=True)
_head = dict(type='RegressionHead', in_channels=2048, num_joints=133, loss=_loss, decoder=_regression)
_student = dict(
    _base_.model, neck=dict(type='GlobalAveragePooling'), head=_head, test_cfg=dict(flip_test=True, shift_coords=True))
_cross = dict(name='cross', loss=dict(type='CrossCoordinateLoss'), student='head', teacher='head', weight=1.0)
_task = dict(_base_._tcd_task, adapter=dict(_base_._tcd_adapter, in_channels=2048))
model = dict(
    _delete_=True, type='PoseDistiller', student=_student,
    teachers=[_base_._teachers.hrnet_w48_coco_wholebody], distill=[_task, _cross])

_codec = dict(type='CrossRepresentationLabel', deploy=_regression, heatmap=_base_._gaussians_256x192)
_targets = [dict(type='GenerateTarget', encoder=_codec), dict(type='PackPoseInputs')]
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_pipeline[:-2], *_targets]))
custom_hooks = [*_base_.custom_hooks, dict(type='TeacherMetricsHook')]
