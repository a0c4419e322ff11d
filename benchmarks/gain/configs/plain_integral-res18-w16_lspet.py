# Integral regression (soft-argmax) on ResNet-18 at a quarter of its width, 64 x 64 input, implicit
# heatmaps of 16 x 16. Data as in plain_hrnet-small_lspet.py, schedule as in plain_res18-w16_lspet.py.
_base_ = ['plain_res18-w16_lspet.py']

_codec = dict(
    type='IntegralRegressionLabel',
    input_size=(64, 64),
    heatmap_size=(16, 16),
    sigma=1.0,
    normalize=True)
codec = dict(_delete_=True, **_codec)
model = dict(
    head=dict(
        _delete_=True,
        type='IntegralRegressionHead',
        in_channels=128,
        in_featuremap_size=(4, 4),
        num_joints=14,
        beta=10.0,
        deconv_out_channels=(64, 64),
        deconv_kernel_sizes=(4, 4),
        loss=dict(type='SmoothL1Loss', use_target_weight=True),
        decoder=_codec),
    test_cfg=dict(_delete_=True, flip_test=True, shift_coords=True))
train_pipeline = [
    *_base_.train_pipeline[:-3],
    dict(type='TopdownAffine', input_size=(64, 64)),
    dict(type='GenerateTarget', encoder=_codec),
    dict(type='PackPoseInputs')
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=(64, 64)),
    dict(type='PackPoseInputs')
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
