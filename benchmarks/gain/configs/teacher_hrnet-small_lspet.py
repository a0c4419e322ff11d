# The heatmap teacher of the integral students: the small HRNet on MMPose's grid without UDP, on which
# integral regression counts as well (position i of 16 is i / 16 of the picture).
#   LSPET=... PYTHONPATH=. mim train mmpose benchmarks/gain/configs/teacher_hrnet-small_lspet.py --work-dir DIR
_base_ = ['plain_hrnet-small_lspet.py']

_codec = dict(
    type='MSRAHeatmap', input_size=(64, 64), heatmap_size=(16, 16), sigma=1.0)
codec = dict(_delete_=True, **_codec)
model = dict(head=dict(decoder=_codec))
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
