# Ours, not the paper's network: unbalanced OKDHP on MMPose's hourglass, MPII 256 x 256: two stacks shared,
# branches of 2, 4 and 6 more. The smallest is deployed: the same 4-stack hourglass, taught by its deeper
# siblings; students are stock MMPose models. The paper's: okdhp_paper_hourglass4_unbalanced_mpii.py. Not yet
# trained by us.
_base_ = ['okdhp_hourglass4_mpii.py']

model = dict(
    head=dict(
        branches=[
            dict(),
            dict(backbone=dict(num_stacks=6), head=dict(num_stages=6)),
            dict(backbone=dict(num_stacks=8), head=dict(num_stages=8)),
        ],
        deploy_branch=0))
