# The paper's experiment (https://arxiv.org/abs/2108.02092): 4-stack hourglass, COCO 256 x 192, two stacks shared,
# two more per branch; the release's network (13.0 M weights) and settings, see _base_/okdhp_paper_coco.py.
# Students need mmpose_kd. Published (AP, COCO val2017 on ground-truth boxes): 73.6 plain, 74.8 with OKDHP. Not
# yet trained by us.
_base_ = ['_base_/okdhp_paper_coco.py']
