# OCD on RLE; all else as in ocd_deeppose-res18-w16_lspet.py.
_base_ = ['ocd_deeppose-res18-w16_lspet.py']

model = dict(
    head=dict(
        deploy=dict(
            head=dict(type='RLEHead', loss=dict(_delete_=True, type='RLELoss', use_target_weight=True)))))
