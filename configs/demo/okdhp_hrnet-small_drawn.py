# OKDHP on a small HRNet and drawn people: the demo, a few minutes on two CPU cores.
# Inherits the COCO config; only the size, the data folder and the schedule differ.
_base_ = ['../okdhp_hrnet_coco.py']

# data: mmpose-kd make-data demo_out/data --train 700 --val 100
data_root = 'demo_out/data/'

codec = dict(type='MSRAHeatmap', input_size=(96, 128), heatmap_size=(24, 32), sigma=1.5)

_backbone = dict(  # one block where HRNet-w32 has four, 16 channels where it has 32
    init_cfg=dict(_delete_=True, type='Kaiming', layer='Conv2d'),
    extra=dict(
        stage1=dict(num_blocks=(1, ), num_channels=(32, )),
        stage2=dict(num_blocks=(1, 1), num_channels=(16, 32)),
        stage3=dict(num_modules=1, num_blocks=(1, 1, 1), num_channels=(16, 32, 64)),
        stage4=dict(num_modules=1, num_blocks=(1, 1, 1, 1), num_channels=(16, 32, 64, 128))))
model = dict(
    backbone=dict(backbone=_backbone),
    head=dict(backbone=_backbone, head=dict(in_channels=16, decoder=codec)))

max_epochs = 6
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', begin=0, end=50, start_factor=0.01, by_epoch=False),
    dict(type='CosineAnnealingLR', T_max=max_epochs, by_epoch=True)
]
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=1, max_keep_ckpts=1))

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomBBoxTransform', shift_prob=0, rotate_prob=0),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs')
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='PackPoseInputs')
]
train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root=data_root, bbox_file=None, pipeline=val_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/person_keypoints_val2017.json')
test_evaluator = val_evaluator
