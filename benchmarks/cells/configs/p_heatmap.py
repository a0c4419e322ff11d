# Cell P: MobileNetV2 from ImageNet, 96 x 96, heatmaps of 24 x 24. $MOBILENETV2 names the weights, which
# `python -m benchmarks.cells.weights` makes; $LSPET the data.
_base_ = ['../../gain/configs/plain_hrnet-small_lspet.py']

max_epochs = 25
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', begin=0, end=100, start_factor=0.01, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=max_epochs, T_max=max_epochs, by_epoch=True),
]

# MMPose's grid without UDP, on which integral regression counts as well
_codec = dict(
    type='MSRAHeatmap', input_size=(96, 96), heatmap_size=(24, 24), sigma=1.0, unbiased=True)
codec = dict(_delete_=True, **_codec)
model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        widen_factor=1.0,
        out_indices=(7, ),
        init_cfg=dict(
            type='Pretrained', checkpoint='{{$MOBILENETV2:data/mobilenetv2_imagenet.pth}}')),
    head=dict(
        in_channels=1280,
        deconv_out_channels=(128, 128, 128),
        deconv_kernel_sizes=(4, 4, 4),
        decoder=dict(_delete_=True, **_codec)),
    test_cfg=dict(shift_heatmap=True))

train_pipeline = [
    *_base_.train_pipeline[:-3],
    dict(type='TopdownAffine', input_size=(96, 96)),
    dict(type='GenerateTarget', encoder=_codec),
    dict(type='PackPoseInputs')
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=(96, 96)),
    dict(type='PackPoseInputs')
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
