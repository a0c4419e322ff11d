# Ours, not the paper's network: OKDHP on MMPose's hourglass, 4 stacks, COCO 256 x 192, 2 stacks shared, 2 more
# per branch; students are stock MMPose models. The paper's: okdhp_paper_hourglass4_coco.py. Not yet trained by
# us.
_base_ = ['okdhp_hourglass2_coco.py']

_split = 'stack2'  # paper: half of the stacks are shared
model = dict(
    backbone=dict(backbone=dict(num_stacks=4), split=_split),
    head=dict(
        backbone=dict(num_stacks=4), split=_split, head=dict(num_stages=4)))
