# The paper's experiment (https://arxiv.org/abs/2108.02092, supplement): MobilePose's MobileNetV2 with a
# pixel-shuffle decoder, MPII, the backbone shared, three decoders. The network is that of MobilePose's code
# (https://github.com/YuliangXiu/MobilePose): 4.1 M weights, as its weight file has (its README says 3.91 M). The
# release has no config of it: settings of its 4-stack hourglass (_base_/okdhp_paper_mpii.py), from scratch as in
# MobilePose; the FAU reads the stem. Students need mmpose_kd. Published (PCKh@0.5, MPII val): 83.3 plain, 85.1
# with OKDHP. Not yet trained by us.
_base_ = ['_base_/okdhp_paper_mpii.py']

_cut = dict(backbone=dict(type='MobileNetV2'), split='end')
_head = dict(
    type='PixelShuffleHead', in_channels=1280, out_channels=16, loss=_base_._released_loss, decoder=_base_.codec)
model = dict(
    backbone=dict(_delete_=True, type='SharedTrunk', **_cut),
    head=dict(_base_._released, _delete_=True, head=_head, **_cut))
