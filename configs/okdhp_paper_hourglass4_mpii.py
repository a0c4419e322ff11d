# The paper's experiment (https://arxiv.org/abs/2108.02092): 4-stack hourglass, MPII 256 x 256, two stacks shared,
# two more per branch; the release's network (13.0 M weights) and settings, see _base_/okdhp_paper_mpii.py.
# Students need mmpose_kd. Published (PCKh@0.5, MPII val): 89.2 plain, 90.0 with OKDHP; the author's run of this
# setting (issue 2 of the release): 90.034. Not yet trained by us.
_base_ = ['_base_/okdhp_paper_mpii.py']
