# HHD: LiteHRNet-18 as integral regressor, taught by HRNet-w48's heatmaps. COCO, 256 x 192.
# The paper's experiment, with what its release does on MPII (hhd_paper_litehrnet18_mpii.py), and half bodies as in
# MMPose's config for COCO. The paper's numbers could not be had. Not yet trained by us.
_base_ = ['hhd_litehrnet18_coco.py']

_steps = _base_.train_dataloader.dataset.pipeline
_steps = [_base_._jitter_released if step.type == 'RandomBBoxTransform' else step for step in _steps]
train_dataloader = dict(dataset=dict(pipeline=_steps))
model = dict(student=dict(init_cfg=None), distill=[_base_._hhd_released])
