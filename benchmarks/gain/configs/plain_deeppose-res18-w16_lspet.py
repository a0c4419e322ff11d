# DeepPose on ResNet-18 at a quarter of its width, 64 x 64 input: pooling and one linear layer. Data as in
# plain_hrnet-small_lspet.py, schedule as in plain_res18-w16_lspet.py.
_base_ = ['plain_res18-w16_lspet.py']

_codec = dict(type='RegressionLabel', input_size=(64, 64))
codec = dict(_delete_=True, **_codec)
model = dict(
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        _delete_=True,
        type='RegressionHead',
        in_channels=128,
        num_joints=14,
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
