# Integral regression (soft-argmax) on the same backbone, implicit heatmaps of 16 x 16.
_base_ = ['heatmap_res18-small.py']

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
        in_channels=64,
        in_featuremap_size=(4, 4),
        num_joints=17,
        beta=10.0,
        deconv_out_channels=(64, 64),
        deconv_kernel_sizes=(4, 4),
        loss=dict(type='SmoothL1Loss', use_target_weight=True),
        decoder=_codec))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:-2],
            dict(type='GenerateTarget', encoder=_codec),
            dict(type='PackPoseInputs')
        ]))
