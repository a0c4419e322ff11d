# The paper's experiment (https://arxiv.org/abs/2108.02092, supplement): MobilePose's ResNet-18 with a
# pixel-shuffle decoder, MPII, the backbone shared, three decoders. The network is that of MobilePose's code
# (https://github.com/YuliangXiu/MobilePose): 12.9 M weights, as its weight file has (its README says 12.26 M).
# The release has no config of it: settings of its 4-stack hourglass (_base_/okdhp_paper_mpii.py), from scratch as
# in MobilePose; the FAU reads the stem. Students need mmpose_kd. Published (PCKh@0.5, MPII val): 85.4 plain, 86.4
# with OKDHP. Not yet trained by us.
_base_ = ['_base_/okdhp_paper_mpii.py']

_cut = dict(backbone=dict(type='ResNet', depth=18), split='end')
_head = dict(
    type='PixelShuffleHead', in_channels=512, out_channels=16, loss=_base_._released_loss, decoder=_base_.codec)
model = dict(
    backbone=dict(_delete_=True, type='SharedTrunk', **_cut),
    head=dict(_base_._released, _delete_=True, head=_head, **_cut))
