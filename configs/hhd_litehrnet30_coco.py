# HHD on LiteHRNet-30, COCO, 256 x 192: as with LiteHRNet-18. Not yet trained by us.
# Ours: it starts from a heatmap model and balances the loss; the release's way: hhd_paper_litehrnet30_coco.py.
_base_ = ['hhd_litehrnet18_coco.py']

model = dict(
    student=dict(
        backbone=dict(extra=dict(stages_spec=dict(num_modules=(3, 8, 3)))),
        init_cfg=dict(
            checkpoint=_base_._weights_url + 'top_down/litehrnet/litehrnet30_coco_256x192-4176555b_20210626.pth')))
