# OKDHP on a 4-stack hourglass, COCO 256 x 192: 2 stacks shared, 2 more per branch.
# Paper (https://arxiv.org/abs/2108.02092): AP from 73.6 to 74.8; not yet trained by us.
_base_ = ['okdhp_hourglass2_coco.py']

_split = 'stack2'  # paper: half of the stacks are shared
model = dict(
    backbone=dict(backbone=dict(num_stacks=4), split=_split),
    head=dict(
        backbone=dict(num_stacks=4), split=_split, head=dict(num_stages=4)))
