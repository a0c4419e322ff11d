# DeepPose on the same backbone: global pooling and one linear layer that puts out coordinates.
_base_ = ['heatmap_res18-small.py']

_codec = dict(type='RegressionLabel', input_size=(64, 64))
codec = dict(_delete_=True, **_codec)
model = dict(
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        _delete_=True,
        type='RegressionHead',
        in_channels=64,
        num_joints=17,
        loss=dict(type='SmoothL1Loss', use_target_weight=True),
        decoder=_codec))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:-2],
            dict(type='GenerateTarget', encoder=_codec),
            dict(type='PackPoseInputs')
        ]))
