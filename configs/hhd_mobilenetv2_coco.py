# HHD: MobileNetV2 as integral regressor, taught by HRNet-w48's heatmaps. COCO, 256 x 192.
# Paper: https://doi.org/10.1016/j.imavis.2024.105041; numbers below are its release's for MPII. Not yet
# trained by us.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_mobilenetv2_8xb64-210e_coco-256x192.py']
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

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
            in_channels=1280,
            in_featuremap_size=(6, 8),
            num_joints=17,
            beta=10.0,  # three deconvolutions, as in the heatmap model
            # SmoothL1 of the coordinates alone: DSNTHead asks for a second loss, which weighs 0
            loss=dict(
                type='MultipleLossWrapper',
                losses=[
                    dict(type='SmoothL1Loss', use_target_weight=True),
                    dict(type='KeypointMSELoss', use_target_weight=True, loss_weight=0.0)
                ]),
            decoder=codec),
        test_cfg=dict(flip_test=True, shift_coords=True, shift_heatmap=True)),
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
            student='head.simplebaseline_head.final_layer',
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
