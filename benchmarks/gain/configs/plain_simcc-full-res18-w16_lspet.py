# SimCC on ResNet-18 at a quarter of its width, 64 x 64 input: two deconvolutions and 128 bins an axis.
# Data as in plain_hrnet-small_lspet.py, schedule as in plain_res18-w16_lspet.py.
_base_ = ['plain_deeppose-res18-w16_lspet.py']

_codec = dict(type='SimCCLabel', input_size=(64, 64), sigma=6.0, simcc_split_ratio=2.0)
codec = dict(_delete_=True, **_codec)
model = dict(
    neck=None,
    head=dict(
        _delete_=True,
        type='SimCCHead',
        in_channels=128,
        out_channels=14,
        input_size=(64, 64),
        in_featuremap_size=(4, 4),
        simcc_split_ratio=2.0,
        deconv_out_channels=(64, 64),
        deconv_kernel_sizes=(4, 4),
        deconv_num_groups=(1, 1),
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
