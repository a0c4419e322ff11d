# TCD: RTMPose-s learns from HRNet-w48's heatmaps and through its frozen head. COCO-WholeBody, 256 x 192.
# Paper: https://doi.org/10.1007/978-3-031-91575-8_21, our reconstruction (docs/tcd.md). Not yet trained by us.
_base_ = ['mmpose::wholebody_2d_keypoint/rtmpose/coco-wholebody/rtmpose-m_8xb64-270e_coco-wholebody-256x192.py']
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

_heatmap = dict(  # the teacher's codec, its Gaussians not rounded to whole pixels
    type='MSRAHeatmap', input_size=(192, 256), heatmap_size=(48, 64), sigma=2, unbiased=True)
_codec = dict(type='CrossRepresentationLabel', deploy=_base_.codec, heatmap=_heatmap)
# RTMPose-s: MMPose has the medium one for this data set, and the small one for COCO
_backbone = dict(
    _base_.model.backbone,
    deepen_factor=0.33,
    widen_factor=0.5,
    init_cfg=dict(
        _base_.model.backbone.init_cfg,
        checkpoint='https://download.openmmlab.com/mmpose/v1/projects/rtmposev1/'
        'cspnext-s_udp-aic-coco_210e-256x192-92f5a029_20230130.pth'))
_head = dict(_base_.model.head, in_channels=512)

model = dict(
    _delete_=True,
    type='PoseDistiller',
    student=dict(_base_.model, backbone=_backbone, head=_head),
    teachers=[
        dict(
            config='mmpose::wholebody_2d_keypoint/topdown_heatmap/coco-wholebody/'
            'td-hm_hrnet-w48_8xb32-210e_coco-wholebody-256x192.py',
            checkpoint='https://download.openmmlab.com/mmpose/top_down/hrnet/'
            'hrnet_w48_coco_wholebody_256x192-643e18cb_20200922.pth')
    ],
    distill=[
        dict(
            name='task',
            type='ThroughTeacherHead',
            student='backbone',
            adapter=dict(  # a 1 x 1 convolution, 512 x 8 x 6 to 48 x 64 x 48
                type='pixel_shuffle', in_channels=512, out_channels=48, scale_factor=8, upsample_kernel=1),
            balance=True,
            weight=1.0),  # ours: pulls at the backbone as strongly as the student's loss
        dict(
            name='cross',
            loss=dict(type='CrossSimCCLoss'),
            student=('head.cls_x', 'head.cls_y'),
            teacher='head',
            weight=0.1)  # ours, after the logit loss of DWPose: also a KL summed over the bins
    ])

_targets = [dict(type='GenerateTarget', encoder=_codec), dict(type='PackPoseInputs')]
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_pipeline[:-2], *_targets]))
custom_hooks = [
    _base_.custom_hooks[0],  # EMA
    dict(_base_.custom_hooks[1], switch_pipeline=[*_base_.train_pipeline_stage2[:-2], *_targets]),
    dict(type='TeacherMetricsHook')
]
