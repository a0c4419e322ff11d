# The paper's experiment (https://arxiv.org/abs/2108.02092): 2-stack hourglass, COCO 256 x 192, one stack shared,
# one more per branch; the release's network (6.7 M weights) and settings, see _base_/okdhp_paper_coco.py.
# Students need mmpose_kd. Published (AP, COCO val2017 on ground-truth boxes): 71.7 plain, 72.8 with OKDHP. Not
# yet trained by us.
_base_ = ['_base_/okdhp_paper_coco.py']

_stacks = dict(num_stacks=2)
_split = 'stack1'  # paper: half of the stacks are shared
model = dict(
    backbone=dict(backbone=_stacks, split=_split),
    head=dict(backbone=_stacks, split=_split, head=dict(num_stages=2)))
