# The paper's experiment (https://arxiv.org/abs/2108.02092): 8-stack hourglass, COCO 256 x 192, four stacks
# shared, four more per branch; the release's network (25.6 M weights) and settings, see
# _base_/okdhp_paper_coco.py. Students need mmpose_kd. Published (AP, COCO val2017 on ground-truth boxes): 75.3
# plain, 76.2 with OKDHP. Not yet trained by us.
_base_ = ['_base_/okdhp_paper_coco.py']

_stacks = dict(num_stacks=8)
_split = 'stack4'  # paper: half of the stacks are shared
model = dict(
    backbone=dict(backbone=_stacks, split=_split),
    head=dict(backbone=_stacks, split=_split, head=dict(num_stages=8)))
