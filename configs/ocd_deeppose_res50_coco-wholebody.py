# OCD: DeepPose (ResNet-50) learns from a heatmap head beside it. COCO-WholeBody, 256 x 192.
# Ours: the abstract has this data set, but names no model for it. Sources: _base_/ocd.py. Not yet trained by us.
_base_ = [
    'mmpose::wholebody_2d_keypoint/topdown_heatmap/coco-wholebody/td-hm_res50_8xb64-210e_coco-wholebody-256x192.py',
    '_base_/ocd.py'
]

# DeepPose: MMPose has it for COCO, and for this data set the heatmap model of the same backbone
_regression = dict(type='RegressionLabel', input_size=(192, 256))
_loss = dict(type='SmoothL1Loss', use_target_weight=True)
_head = dict(type='RegressionHead', in_channels=2048, num_joints=133, loss=_loss, decoder=_regression)
_codec = dict(type='CrossRepresentationLabel', deploy=_regression, heatmap=_base_._gaussians_256x192)
codec = dict(_codec, _delete_=True)
model = dict(
    head=dict(
        _base_._ocd_regression,
        _delete_=True,
        deploy=dict(neck=dict(type='GlobalAveragePooling'), head=_head),
        heatmap=dict(_base_._heatmap_head, in_channels=2048, out_channels=133, decoder=_base_._gaussians_256x192)),
    test_cfg=dict(_delete_=True, flip_test=True, shift_coords=True, branch='all'))

_targets = [dict(type='GenerateTarget', encoder=_codec), dict(type='PackPoseInputs')]
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_pipeline[:-2], *_targets]))
custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
