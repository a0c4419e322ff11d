# OCD: RTMPose-m learns from a heatmap head beside it. Animals, AP-10K, 256 x 256.
# Ours: animals are not in the abstract. Sources of the shared numbers: _base_/ocd.py. Not yet trained by us.
_base_ = ['mmpose::animal_2d_keypoint/rtmpose/ap10k/rtmpose-m_8xb64-210e_ap10k-256x256.py', '_base_/ocd.py']

_codec = dict(type='CrossRepresentationLabel', deploy=_base_.codec, heatmap=_base_._gaussians_256x256)
codec = dict(_codec, _delete_=True)
model = dict(
    head=dict(
        _base_._ocd_simcc,
        _delete_=True,
        deploy=dict(head=_base_.model.head),
        heatmap=dict(_base_._heatmap_head, in_channels=768, out_channels=17, decoder=_base_._gaussians_256x256)),
    test_cfg=dict(branch='all'))

_targets = [dict(type='GenerateTarget', encoder=_codec), dict(type='PackPoseInputs')]
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_pipeline[:-2], *_targets]))
custom_hooks = [
    _base_.custom_hooks[0],  # EMA
    dict(_base_.custom_hooks[1], switch_pipeline=[*_base_.train_pipeline_stage2[:-2], *_targets]),
    dict(type='BranchMetricsHook')
]
