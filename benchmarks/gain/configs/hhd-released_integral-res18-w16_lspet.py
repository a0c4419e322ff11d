# HHD as the release computes it.
_base_ = ['hhd_integral-res18-w16_lspet.py']

_released = dict(
    type='HHDLoss', mode='released', loss_weight=0.5, crop_size=(8, 8), norm_student='l2',
    norm_teacher='l2', use_target_weight=False)
model = dict(
    distill=[
        dict(
            name='hhd',
            loss=_released,
            student='head.simplebaseline_head.final_layer',
            teacher='head.final_layer')
    ])
