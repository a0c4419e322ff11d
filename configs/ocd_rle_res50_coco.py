# OCD: RLE (ResNet-50) learns from a heatmap head beside it. COCO, 256 x 192.
# Ours: the abstract does not name RLE. Sources: _base_/ocd.py. Not yet trained by us.
_base_ = ['mmpose::body_2d_keypoint/topdown_regression/coco/td-reg_res50_rle-8xb64-210e_coco-256x192.py', '_base_/ocd.py']

_codec = dict(type='CrossRepresentationLabel', deploy=_base_.codec, heatmap=_base_._gaussians_256x192)
codec = dict(_codec, _delete_=True)
model = dict(
    neck=None,  # the heatmap head needs the feature before it is pooled
    head=dict(
        _base_._ocd_regression,
        _delete_=True,
        deploy=dict(neck=_base_.model.neck, head=_base_.model.head),
        heatmap=dict(_base_._heatmap_head, in_channels=2048, out_channels=17, decoder=_base_._gaussians_256x192),
        # ours, not tried in training: RLE's own loss pulls hundreds of times harder (docs/ocd.md)
        cross=dict(type='CrossCoordinateLoss', beta=0.01),
        cross_weight=300.0),
    test_cfg=dict(branch='all'))

_targets = [dict(type='GenerateTarget', encoder=_codec), dict(type='PackPoseInputs')]
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_pipeline[:-2], *_targets]))
custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
