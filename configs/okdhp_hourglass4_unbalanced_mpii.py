# Unbalanced OKDHP, MPII 256 x 256: two stacks shared, branches of 2, 4 and 6 more. The smallest
# is deployed: the same 4-stack hourglass, taught by its deeper siblings.
# Paper (https://arxiv.org/abs/2108.02092): PCKh@0.5 from 89.2 to 90.2; not yet trained by us.
_base_ = ['okdhp_hourglass4_mpii.py']

model = dict(
    head=dict(
        branches=[
            dict(),
            dict(backbone=dict(num_stacks=6), head=dict(num_stages=6)),
            dict(backbone=dict(num_stacks=8), head=dict(num_stages=8)),
        ],
        deploy_branch=0))
