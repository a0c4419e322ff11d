# RLE on the student of plain_deeppose-res18-w16_lspet.py.
_base_ = ['plain_deeppose-res18-w16_lspet.py']

model = dict(head=dict(type='RLEHead', loss=dict(_delete_=True, type='RLELoss', use_target_weight=True)))
