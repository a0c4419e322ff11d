# HHD: LiteHRNet-18 as integral regressor, taught by HRNet-w48's heatmaps. COCO, 256 x 192.
# Paper: https://doi.org/10.1016/j.imavis.2024.105041; numbers below are its release's for MPII. Not yet
# trained by us.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_litehrnet-18_8xb64-210e_coco-256x192.py']
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

_weights = 'https://download.openmmlab.com/mmpose/top_down/'
codec = dict(
    type='IntegralRegressionLabel', input_size=(192, 256), heatmap_size=(48, 64), sigma=2.0, normalize=True)

model = dict(
    _delete_=True,
    type='PoseDistiller',
    student=dict(
        type='TopdownPoseEstimator',
        data_preprocessor=_base_.model.data_preprocessor,
        backbone=_base_.model.backbone,
        head=dict(
            type='DSNTHead',
            in_channels=40,
            in_featuremap_size=(48, 64),
            num_joints=17,
            beta=10.0,
            deconv_out_channels=None,
            # SmoothL1 of the coordinates alone: DSNTHead asks for a second loss, which weighs 0
            loss=dict(
                type='MultipleLossWrapper',
                losses=[
                    dict(type='SmoothL1Loss', use_target_weight=True),
                    dict(type='KeypointMSELoss', use_target_weight=True, loss_weight=0.0)
                ]),
            decoder=codec),
        test_cfg=dict(flip_test=True, shift_coords=True, shift_heatmap=True),
        # the student starts from the heatmap model of its kind, final layer included
        init_cfg=dict(
            type='Pretrained', checkpoint=_weights + 'litehrnet/litehrnet18_coco_256x192-6bace359_20211230.pth')),
    teachers=[
        dict(
            config='mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w48_8xb32-210e_coco-256x192.py',
            checkpoint='https://download.openmmlab.com/mmpose/v1/body_2d_keypoint/topdown_heatmap/coco/'
            'td-hm_hrnet-w48_8xb32-210e_coco-256x192-0e67c616_20220913.pth')
    ],
    distill=[
        dict(
            name='hhd',
            loss=dict(type='HHDLoss', mode='released', loss_weight=0.5),
            student='head.final_layer',
            teacher='head.final_layer')
    ])

# the inherited pipeline with the coordinates' codec
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:-2],
            dict(type='GenerateTarget', encoder=codec),
            dict(type='PackPoseInputs')
        ]))

custom_hooks = [*_base_.custom_hooks, dict(type='TeacherMetricsHook')]
