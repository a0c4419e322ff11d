# The paper's experiment (https://arxiv.org/abs/2108.02092): 4-stack hourglass, MPII 256 x 256, taught by 6- and
# 8-stack siblings; two stacks shared, branches of 2, 4 and 6 more, the smallest is deployed. Settings as in
# okdhp_paper_hourglass4_mpii.py: the release has no config of it. Students need mmpose_kd. Published (PCKh@0.5,
# MPII val): 89.2 plain, 90.2 with OKDHP (its siblings 90.3 and 90.5). Not yet trained by us.
_base_ = ['_base_/okdhp_paper_mpii.py']

model = dict(
    head=dict(
        branches=[
            dict(),
            dict(backbone=dict(num_stacks=6), head=dict(num_stages=6)),
            dict(backbone=dict(num_stacks=8), head=dict(num_stages=8)),
        ],
        deploy_branch=0))
default_hooks = dict(checkpoint=dict(save_best='PCK'))  # of the deployed branch
