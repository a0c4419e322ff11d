# OKDHP on a 8-stack hourglass, COCO 256 x 192: 4 stacks shared, 4 more per branch.
# Paper (https://arxiv.org/abs/2108.02092): AP from 75.3 to 76.2; not yet trained by us.
_base_ = ['okdhp_hourglass2_coco.py']

_split = 'stack4'  # paper: half of the stacks are shared
model = dict(
    backbone=dict(backbone=dict(num_stacks=8), split=_split),
    head=dict(
        backbone=dict(num_stacks=8), split=_split, head=dict(num_stages=8)))
