# OCD: RTMPose-s learns from a heatmap head beside it. COCO-WholeBody, 256 x 192.
# Paper: https://doi.org/10.1007/978-3-031-91575-8_21, our reconstruction (docs/ocd.md). Not yet trained by us.
_base_ = ['mmpose::wholebody_2d_keypoint/rtmpose/coco-wholebody/rtmpose-m_8xb64-270e_coco-wholebody-256x192.py']
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

_heatmap = dict(
    type='MSRAHeatmap',
    input_size=(192, 256),
    heatmap_size=(48, 64),
    sigma=2,  # of MMPose's heatmap models at this size
    unbiased=True)  # else Gaussians stand on whole pixels, and teach coordinates that are rounded
# RTMPose-s: MMPose has the medium one for this data set, and the small one for COCO
_head = dict(_base_.model.head, in_channels=512)
_codec = dict(type='CrossRepresentationLabel', deploy=_base_.codec, heatmap=_heatmap)
codec = dict(_delete_=True, **_codec)

model = dict(
    backbone=dict(
        deepen_factor=0.33,
        widen_factor=0.5,
        init_cfg=dict(checkpoint='https://download.openmmlab.com/mmpose/v1/projects/rtmposev1/'
                      'cspnext-s_udp-aic-coco_210e-256x192-92f5a029_20230130.pth')),
    head=dict(
        _delete_=True,
        type='OCDHead',
        deploy=dict(head=_head),
        heatmap=dict(  # the decoder of MMPose's heatmap models: three deconvolutions of 256
            type='HeatmapHead',
            in_channels=512,
            out_channels=133,
            loss=dict(type='KeypointMSELoss', use_target_weight=True),
            decoder=_heatmap),
        heatmap_weight=1.0,  # ours: pulls at the backbone as strongly as the deployed head's loss
        cross_weight=1.0  # ours, as are all weights of OCD: the paper's could not be had
    ),
    test_cfg=dict(branch='all'))

_targets = [dict(type='GenerateTarget', encoder=_codec), dict(type='PackPoseInputs')]
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_pipeline[:-2], *_targets]))

custom_hooks = [
    _base_.custom_hooks[0],  # EMA
    dict(_base_.custom_hooks[1], switch_pipeline=[*_base_.train_pipeline_stage2[:-2], *_targets]),
    dict(type='BranchMetricsHook')
]
