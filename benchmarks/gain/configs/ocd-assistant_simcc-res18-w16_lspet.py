# OCD's downsized head: the light SimCC head is taught by the full one alone, no heatmap is learned.
_base_ = ['ocd_simcc-res18-w16_lspet.py']

_full = dict(deconv_out_channels=(64, 64), deconv_kernel_sizes=(4, 4), deconv_num_groups=(1, 1))
model = dict(
    head=dict(
        heatmap_weight=0,
        cross_weight=0,
        assistant={**_base_.model.head.deploy.head, **_full}))
