# HHD on LiteHRNet-30, COCO, 256 x 192.
# The paper's experiment, as with LiteHRNet-18; batch 32 as in the release on MPII. Not yet trained by us.
_base_ = ['hhd_paper_litehrnet18_coco.py']

model = dict(student=dict(backbone=dict(extra=dict(stages_spec=dict(num_modules=(3, 8, 3))))))
train_dataloader = dict(batch_size=32)
