# OCD: SimCC (MobileNetV2) learns from a heatmap head beside it. COCO, 256 x 192.
# A heatmap head of 64 channels: of 256 it would cost a step more than the model does.
# Ours: the abstract does not name SimCC. Sources of the shared numbers: _base_/ocd.py. Not yet trained by us.
_base_ = ['mmpose::body_2d_keypoint/simcc/coco/simcc_mobilenetv2_wo-deconv-8xb64-210e_coco-256x192.py', '_base_/ocd.py']

_codec = dict(type='CrossRepresentationLabel', deploy=_base_.codec, heatmap=_base_._gaussians_256x192)
codec = dict(_codec, _delete_=True)
model = dict(
    head=dict(
        _base_._ocd_simcc,
        _delete_=True,
        deploy=dict(head=_base_.model.head),
        heatmap=dict(
            _base_._heatmap_head,
            in_channels=1280,
            out_channels=17,
            deconv_out_channels=(64, 64, 64),
            decoder=_base_._gaussians_256x192)),
    test_cfg=dict(branch='all'))

_targets = [dict(type='GenerateTarget', encoder=_codec), dict(type='PackPoseInputs')]
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_pipeline[:-2], *_targets]))
custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
