# The paper's experiment (https://arxiv.org/abs/2108.02092): 2-stack hourglass, MPII 256 x 256, one stack shared,
# one more per branch; the release's network (6.7 M weights) and settings, see _base_/okdhp_paper_mpii.py.
# Students need mmpose_kd. Published (PCKh@0.5, MPII val): 88.6 plain, 89.2 with OKDHP. Not yet trained by us.
_base_ = ['_base_/okdhp_paper_mpii.py']

_stacks = dict(num_stacks=2)
_split = 'stack1'  # paper: half of the stacks are shared
model = dict(
    backbone=dict(backbone=_stacks, split=_split),
    head=dict(backbone=_stacks, split=_split, head=dict(num_stages=2)))
