# Cell P, DeepPose: pooling and one linear layer.
_base_ = ['p_heatmap.py']

_codec = dict(type='RegressionLabel', input_size=(96, 96))
codec = dict(_delete_=True, **_codec)
model = dict(
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        _delete_=True,
        type='RegressionHead',
        in_channels=1280,
        num_joints=14,
        loss=dict(type='SmoothL1Loss', use_target_weight=True),
        decoder=_codec),
    test_cfg=dict(_delete_=True, flip_test=True, shift_coords=True))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:-2],
            dict(type='GenerateTarget', encoder=_codec),
            dict(type='PackPoseInputs')
        ]))
