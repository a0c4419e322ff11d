# TCD: DeepPose (ResNet-50) learns from HRNet-w48's heatmaps and through its frozen head. COCO, 256 x 192.
# Paper: https://doi.org/10.1007/978-3-031-91575-8_21, our reconstruction (docs/tcd.md). Not yet trained by us.
_base_ = ['mmpose::body_2d_keypoint/topdown_regression/coco/td-reg_res50_8xb64-210e_coco-256x192.py']
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

_heatmap = dict(
    type='MSRAHeatmap',
    input_size=(192, 256),
    heatmap_size=(48, 64),
    sigma=2,  # the teacher's codec
    unbiased=True)  # the same Gaussians, not rounded to whole pixels
_codec = dict(type='CrossRepresentationLabel', deploy=_base_.codec, heatmap=_heatmap)

model = dict(
    _delete_=True,
    type='PoseDistiller',
    student=_base_.model,
    teachers=[
        dict(
            config='mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w48_8xb32-210e_coco-256x192.py',
            checkpoint='https://download.openmmlab.com/mmpose/v1/body_2d_keypoint/topdown_heatmap/coco/'
            'td-hm_hrnet-w48_8xb32-210e_coco-256x192-0e67c616_20220913.pth')
    ],
    distill=[
        dict(
            name='task',
            type='ThroughTeacherHead',
            student='backbone',
            # a 1 x 1 convolution, 2048 x 8 x 6 to 48 x 64 x 48
            adapter=dict(
                type='pixel_shuffle',
                in_channels=2048,
                out_channels=48,
                scale_factor=8,
                upsample_kernel=1),
            balance=True,
            weight=1.0),  # ours: pulls at the backbone as strongly as the student's loss
        dict(
            name='cross',
            loss=dict(type='CrossCoordinateLoss'),
            student='head',
            teacher='head',
            weight=1.0)  # ours: it has the form and the unit of the student's loss
    ])

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:-2],
            dict(type='GenerateTarget', encoder=_codec),
            dict(type='PackPoseInputs')
        ]))

custom_hooks = [*_base_.custom_hooks, dict(type='TeacherMetricsHook')]
