# Cell P, SimCC with deconvolutions, 192 bins an axis.
_base_ = ['p_heatmap.py']

_codec = dict(type='SimCCLabel', input_size=(96, 96), sigma=6.0, simcc_split_ratio=2.0)
codec = dict(_delete_=True, **_codec)
model = dict(
    head=dict(
        _delete_=True,
        type='SimCCHead',
        in_channels=1280,
        out_channels=14,
        input_size=(96, 96),
        in_featuremap_size=(3, 3),
        simcc_split_ratio=2.0,
        deconv_out_channels=(128, 128, 128),
        deconv_kernel_sizes=(4, 4, 4),
        deconv_num_groups=(1, 1, 1),
        loss=dict(type='KLDiscretLoss', use_target_weight=True),
        decoder=_codec),
    test_cfg=dict(_delete_=True, flip_test=True))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:-2],
            dict(type='GenerateTarget', encoder=_codec),
            dict(type='PackPoseInputs')
        ]))
