# HHD, aligned: the integral student learns from a small HRNet's heatmaps; $TEACHER is its checkpoint.
_base_ = ['plain_integral-res18-w16_lspet.py']

model = dict(
    _delete_=True,
    type='PoseDistiller',
    student=_base_.model,
    teachers=[
        dict(
            config='benchmarks/gain/configs/teacher_hrnet-small_lspet.py',
            checkpoint='{{$TEACHER:teacher.pth}}')
    ],
    distill=[
        dict(
            name='hhd',
            loss=dict(type='HHDLoss', mode='aligned', loss_weight=0.5),
            student='head.simplebaseline_head.final_layer',
            teacher='head.final_layer')
    ])
