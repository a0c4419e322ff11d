# HHD: LiteHRNet-18 as integral regressor, taught by HRNet-w48's heatmaps. MPII, 256 x 256.
# The release's run: no pretraining, beta 10, its loss with weight 0.5, batch 64, rotation of 80 degrees and scales of
# 0.5 to 1.5 (MMPose's LiteHRNet: 60, 0.75 to 1.25). Where our loss differs: docs/hhd.md. The paper's numbers could not
# be had. Not yet trained by us.
_base_ = ['hhd_litehrnet18_mpii.py']

_steps = _base_.train_dataloader.dataset.pipeline
_steps = [_base_._jitter_released if step.type == 'RandomBBoxTransform' else step for step in _steps]
train_dataloader = dict(dataset=dict(pipeline=_steps))
model = dict(student=dict(init_cfg=None), distill=[_base_._hhd_released])
