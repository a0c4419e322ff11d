# ResNet-18 at a quarter of its width, 64 x 64 input, heatmaps of 16 x 16: small enough for two CPU
# cores. Stage 4 keeps the resolution of stage 3 (4 x 4): at the stock stride of 32 a picture of
# 64 x 64 would end as 2 x 2. Data and codec as in plain_hrnet-small_lspet.py.
_base_ = ['plain_hrnet-small_lspet.py']

max_epochs = 40
train_cfg = dict(max_epochs=max_epochs, val_interval=10)
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = [
    dict(type='LinearLR', begin=0, end=200, start_factor=0.01, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=max_epochs, T_max=max_epochs, by_epoch=True),
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        stem_channels=16,
        base_channels=16,
        strides=(1, 2, 2, 1)),
    head=dict(
        in_channels=128,
        deconv_out_channels=(64, 64),
        deconv_kernel_sizes=(4, 4)))
