# HHD on LiteHRNet-30, MPII, 256 x 256.
# The release's run: as with LiteHRNet-18, batch 32. The paper's numbers could not be had. Not yet trained by us.
_base_ = ['hhd_paper_litehrnet18_mpii.py']

model = dict(student=dict(backbone=dict(extra=dict(stages_spec=dict(num_modules=(3, 8, 3))))))
train_dataloader = dict(batch_size=32)
