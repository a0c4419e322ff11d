# HHD: MobileNetV2 as integral regressor, taught by HRNet-w48's heatmaps. MPII, 256 x 256.
# Ours: the release has no distillation of MobileNetV2; its plain one has beta 1 and weighs the heatmaps' MSE by 1.
# Sources of the shared numbers: _base_/hhd.py. Not yet trained by us.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/mpii/td-hm_mobilenetv2_8xb64-210e_mpii-256x256.py', '_base_/hhd.py']

codec = dict(_base_._coordinates, input_size=(256, 256), heatmap_size=(64, 64))
model = dict(
    _delete_=True,
    type='PoseDistiller',
    student=dict(
        _base_._hhd_student,
        data_preprocessor=_base_.model.data_preprocessor,
        backbone=_base_.model.backbone,
        head=dict(  # three deconvolutions, as in the heatmap model
            _base_._hhd_head, in_channels=1280, in_featuremap_size=(8, 8), num_joints=16, decoder=codec)),
    teachers=[_base_._teachers.hrnet_w48_mpii],
    distill=[dict(_base_._hhd, student='head.simplebaseline_head.final_layer')])

# the inherited pipeline with the coordinates' codec: flip, scale and rotation, no shift
_targets = [dict(type='GenerateTarget', encoder=codec), dict(type='PackPoseInputs')]
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_pipeline[:-2], *_targets]))
custom_hooks = [*_base_.custom_hooks, dict(type='TeacherMetricsHook')]
