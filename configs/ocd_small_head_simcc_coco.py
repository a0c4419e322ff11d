# OCD: SimCC (ResNet-50) with a small head, taught by its full head and a heatmap head. COCO, 256 x 192.
# Ours: the abstract has a downsized head, but names no model. Sources: _base_/ocd.py. Not yet trained by us.
_base_ = ['mmpose::body_2d_keypoint/simcc/coco/simcc_res50_8xb64-210e_coco-256x192.py', '_base_/ocd.py']

_codec = dict(type='CrossRepresentationLabel', deploy=_base_.codec, heatmap=_base_._gaussians_256x192)
codec = dict(_codec, _delete_=True)
# the deployed head: two linear layers after a 1 x 1 convolution, 79 k parameters at this input
_small = dict(_base_.model.head, deconv_out_channels=None, decoder=_base_.codec)
model = dict(
    head=dict(
        _base_._ocd_simcc,
        _delete_=True,
        deploy=dict(head=_small),
        assistant=_base_.model.head,  # the full head, with three deconvolutions
        assistant_weight=1.0,  # ours
        heatmap=dict(_base_._heatmap_head, in_channels=2048, out_channels=17, decoder=_base_._gaussians_256x192)),
    test_cfg=dict(branch='all'))

_targets = [dict(type='GenerateTarget', encoder=_codec), dict(type='PackPoseInputs')]
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_pipeline[:-2], *_targets]))
custom_hooks = [*_base_.custom_hooks, dict(type='BranchMetricsHook')]
