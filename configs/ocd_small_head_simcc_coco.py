# OCD: SimCC (ResNet-50) with a small head, taught by its full head and a heatmap head. COCO, 256 x 192.
# Paper: https://doi.org/10.1007/978-3-031-91575-8_21, our reconstruction (docs/ocd.md). Not yet trained by us.
_base_ = ['mmpose::body_2d_keypoint/simcc/coco/simcc_res50_8xb64-210e_coco-256x192.py']
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

_heatmap = dict(
    type='MSRAHeatmap',
    input_size=(192, 256),
    heatmap_size=(48, 64),
    sigma=2,  # of MMPose's heatmap models at this size
    unbiased=True)  # else Gaussians stand on whole pixels, and teach coordinates that are rounded
_codec = dict(type='CrossRepresentationLabel', deploy=_base_.codec, heatmap=_heatmap)
codec = dict(_delete_=True, **_codec)

# the deployed head: two linear layers after a 1 x 1 convolution, 79 k parameters at this input
_small = dict(
    type='SimCCHead',
    in_channels=2048,
    out_channels=17,
    input_size=(192, 256),
    in_featuremap_size=(6, 8),
    simcc_split_ratio=2.0,
    deconv_out_channels=None,
    loss=_base_.model.head.loss,
    decoder=_base_.codec)

model = dict(
    head=dict(
        _delete_=True,
        type='OCDHead',
        deploy=dict(head=_small),
        assistant=_base_.model.head,  # the full head, with three deconvolutions
        assistant_weight=1.0,  # ours
        heatmap=dict(  # the decoder of MMPose's heatmap models: three deconvolutions of 256
            type='HeatmapHead',
            in_channels=2048,
            out_channels=17,
            loss=dict(type='KeypointMSELoss', use_target_weight=True),
            decoder=_heatmap),
        heatmap_weight=1.0,  # ours: pulls at the backbone as strongly as the deployed head's loss
        cross_weight=1.0  # ours, as are all weights of OCD: the paper's could not be had
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
