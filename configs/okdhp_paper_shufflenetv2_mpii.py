# The paper's experiment (https://arxiv.org/abs/2108.02092, supplement): MobilePose's ShuffleNetV2 with a
# pixel-shuffle decoder, MPII, the backbone shared, three decoders. The network is that of MobilePose's code
# (https://github.com/YuliangXiu/MobilePose): 3.1 M weights, as its weight file has (its README says 2.92 M). The
# release has no config of it: settings of its 4-stack hourglass (_base_/okdhp_paper_mpii.py), from scratch as in
# MobilePose; the FAU reads the stem. Students need mmpose_kd. Published (PCKh@0.5, MPII val): 80.5 plain, 83.0
# with OKDHP. Not yet trained by us.
_base_ = ['_base_/okdhp_paper_mpii.py']

_cut = dict(backbone=dict(type='ShuffleNetV2'), split='end')
_head = dict(
    type='PixelShuffleHead', in_channels=1024, out_channels=16, loss=_base_._released_loss, decoder=_base_.codec)
model = dict(
    backbone=dict(_delete_=True, type='SharedTrunk', **_cut),
    head=dict(_base_._released, _delete_=True, head=_head, **_cut))
