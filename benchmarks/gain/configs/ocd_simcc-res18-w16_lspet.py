# OCD: the light SimCC student learns from a heatmap head (decoder of plain_res18-w16_lspet.py) on its feature.
_base_ = ['plain_simcc-res18-w16_lspet.py']

# as in ocd_deeppose-res18-w16_lspet.py
_heatmap = dict(
    type='MSRAHeatmap', input_size=(64, 64), heatmap_size=(16, 16), sigma=1.0, unbiased=True)
_codec = dict(type='CrossRepresentationLabel', deploy=_base_.codec, heatmap=_heatmap)
codec = dict(_delete_=True, **_codec)
model = dict(
    head=dict(
        _delete_=True,
        type='OCDHead',
        deploy=dict(head=_base_.model.head),
        heatmap=dict(
            type='HeatmapHead',
            in_channels=128,
            out_channels=14,
            deconv_out_channels=(64, 64),
            deconv_kernel_sizes=(4, 4),
            loss=dict(type='KeypointMSELoss', use_target_weight=True),
            decoder=_heatmap)),
    test_cfg=dict(branch='all'))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_dataloader.dataset.pipeline[:-2],
            dict(type='GenerateTarget', encoder=_codec),
            dict(type='PackPoseInputs')
        ]))
custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
