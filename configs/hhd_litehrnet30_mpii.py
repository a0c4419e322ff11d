# HHD on LiteHRNet-30, MPII, 256 x 256: as with LiteHRNet-18. Not yet trained by us.
# Ours: it starts from a heatmap model and balances the loss; the release's way: hhd_paper_litehrnet30_mpii.py.
_base_ = ['hhd_litehrnet18_mpii.py']

model = dict(
    student=dict(
        backbone=dict(extra=dict(stages_spec=dict(num_modules=(3, 8, 3)))),
        init_cfg=dict(
            checkpoint=_base_._weights_url + 'top_down/litehrnet/litehrnet30_mpii_256x256-faae8bd8_20210622.pth')))
