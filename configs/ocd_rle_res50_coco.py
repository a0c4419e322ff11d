# OCD: RLE (ResNet-50) learns from a heatmap head beside it. COCO, 256 x 192.
# Paper: https://doi.org/10.1007/978-3-031-91575-8_21, our reconstruction (docs/ocd.md). Not yet trained by us.
_base_ = ['mmpose::body_2d_keypoint/topdown_regression/coco/td-reg_res50_rle-8xb64-210e_coco-256x192.py']
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

_heatmap = dict(
    type='MSRAHeatmap',
    input_size=(192, 256),
    heatmap_size=(48, 64),
    sigma=2,  # of MMPose's heatmap models at this size
    unbiased=True)  # else Gaussians stand on whole pixels, and teach coordinates that are rounded
_codec = dict(type='CrossRepresentationLabel', deploy=_base_.codec, heatmap=_heatmap)
codec = dict(_delete_=True, **_codec)

model = dict(
    neck=None,  # the heatmap head needs the feature before it is pooled
    head=dict(
        _delete_=True,
        type='OCDHead',
        deploy=dict(neck=_base_.model.neck, head=_base_.model.head),
        heatmap=dict(  # the decoder of MMPose's heatmap models: three deconvolutions of 256
            type='HeatmapHead',
            in_channels=2048,
            out_channels=17,
            loss=dict(type='KeypointMSELoss', use_target_weight=True),
            decoder=_heatmap),
        heatmap_weight=1.0,  # ours: pulls at the backbone as strongly as the deployed head's loss
        # ours, not tried in training: RLE's own loss pulls hundreds of times harder (docs/ocd.md)
        cross=dict(type='CrossCoordinateLoss', beta=0.01),
        cross_weight=300.0
    ),
    test_cfg=dict(branch='all'))

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:-2],
            dict(type='GenerateTarget', encoder=_codec),
            dict(type='PackPoseInputs')
        ]))

custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
