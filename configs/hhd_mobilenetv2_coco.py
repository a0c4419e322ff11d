# HHD: MobileNetV2 as integral regressor, taught by HRNet-w48's heatmaps. COCO, 256 x 192.
# Ours: the release has no distillation of MobileNetV2; its plain one has beta 1 and weighs the heatmaps' MSE by 1.
# Sources of the shared numbers: _base_/hhd.py. Not yet trained by us.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_mobilenetv2_8xb64-210e_coco-256x192.py', '_base_/hhd.py']

codec = dict(_base_._coordinates, input_size=(192, 256), heatmap_size=(48, 64))
model = dict(
    _delete_=True,
    type='PoseDistiller',
    student=dict(
        _base_._hhd_student,
        data_preprocessor=_base_.model.data_preprocessor,
        backbone=_base_.model.backbone,
        head=dict(  # three deconvolutions, as in the heatmap model
            _base_._hhd_head, in_channels=1280, in_featuremap_size=(6, 8), num_joints=17, decoder=codec)),
    teachers=[_base_._teachers.hrnet_w48_coco],
    distill=[dict(_base_._hhd, student='head.simplebaseline_head.final_layer')])

# the inherited pipeline with the coordinates' codec
_targets = [dict(type='GenerateTarget', encoder=codec), dict(type='PackPoseInputs')]
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_pipeline[:-2], *_targets]))
custom_hooks = [*_base_.custom_hooks, dict(type='TeacherMetricsHook')]
