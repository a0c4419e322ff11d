# Cell P, integral regression (soft-argmax), maps of 24 x 24.
_base_ = ['p_heatmap.py']

_codec = dict(
    type='IntegralRegressionLabel',
    input_size=(96, 96),
    heatmap_size=(24, 24),
    sigma=1.0,
    normalize=True)
codec = dict(_delete_=True, **_codec)
model = dict(
    head=dict(
        _delete_=True,
        type='IntegralRegressionHead',
        in_channels=1280,
        in_featuremap_size=(3, 3),
        num_joints=14,
        beta=10.0,
        deconv_out_channels=(128, 128, 128),
        deconv_kernel_sizes=(4, 4, 4),
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
