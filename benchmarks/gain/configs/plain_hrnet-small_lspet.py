# A small plain HRNet (one block where HRNet-w32 has four, 24 channels where it has 32), 64 x 64
# input: small enough for two CPU cores.
# Data in CrowdPose's joint order and COCO's format; $LSPET names its folder.
_base_ = ['mmpose::_base_/default_runtime.py']
custom_imports = dict(imports=['mmpose_kd', 'benchmarks.gain.torso_pck'])

data_root = '{{$LSPET:data/lspet}}/'
max_epochs = 18
train_cfg = dict(max_epochs=max_epochs, val_interval=6)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', begin=0, end=200, start_factor=0.01, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=max_epochs, T_max=max_epochs, by_epoch=True),
]

# sigma: of 0.7, 1 and 1.5, 1 was best for ResNet-18 by far (10.0, 14.7 and 11.1 PCK@0.2 on 600
# training persons kept aside, after 40 epochs of 500 others)
codec = dict(type='UDPHeatmap', input_size=(64, 64), heatmap_size=(16, 16), sigma=1.0)
model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(
        type='PoseDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    backbone=dict(
        type='HRNet',
        extra=dict(
            stage1=dict(
                num_modules=1,
                num_branches=1,
                block='BOTTLENECK',
                num_blocks=(1, ),
                num_channels=(32, )),
            stage2=dict(
                num_modules=1,
                num_branches=2,
                block='BASIC',
                num_blocks=(1, 1),
                num_channels=(24, 48)),
            stage3=dict(
                num_modules=1,
                num_branches=3,
                block='BASIC',
                num_blocks=(1, 1, 1),
                num_channels=(24, 48, 96)),
            stage4=dict(
                num_modules=1,
                num_branches=4,
                block='BASIC',
                num_blocks=(1, 1, 1, 1),
                num_channels=(24, 48, 96, 192))),
        init_cfg=dict(type='Kaiming', layer='Conv2d')),
    head=dict(
        type='HeatmapHead',
        in_channels=24,
        out_channels=14,
        deconv_out_channels=None,
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=codec),
    test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=False))

dataset = dict(
    type='CrowdPoseDataset',
    data_root=data_root,
    data_mode='topdown',
    ann_file='annotations/train.json',
    data_prefix=dict(img='images/'))
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomBBoxTransform',
         shift_prob=0, scale_factor=(0.75, 1.25), rotate_factor=30),
    dict(type='TopdownAffine', input_size=codec['input_size'], use_udp=True),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs')
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size'], use_udp=True),
    dict(type='PackPoseInputs')
]
train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        **{**dataset, 'ann_file': 'annotations/val.json'},
        test_mode=True,
        pipeline=val_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='TorsoPCK'),
    dict(
        type='CocoMetric',
        ann_file=data_root + 'annotations/val.json',
        use_area=True,
        iou_type='keypoints',
        prefix='oks')
]
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(interval=6, max_keep_ckpts=1))
