# TCD: the same student learns from a small HRNet's heatmaps and through its frozen head; $TEACHER is its
# checkpoint.
_base_ = ['plain_deeppose-res18-w16_lspet.py']

# the teacher's codec, its Gaussians not rounded to whole pixels
_heatmap = dict(
    type='MSRAHeatmap', input_size=(64, 64), heatmap_size=(16, 16), sigma=1.0, unbiased=True)
_codec = dict(type='CrossRepresentationLabel', deploy=_base_.codec, heatmap=_heatmap)
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
            name='task',
            type='ThroughTeacherHead',
            student='backbone',
            # a 1 x 1 convolution, 128 x 4 x 4 to 24 x 16 x 16
            adapter=dict(
                type='pixel_shuffle',
                in_channels=128,
                out_channels=24,
                scale_factor=4,
                upsample_kernel=1),
            balance=True),
        dict(
            name='cross',
            loss=dict(type='CrossCoordinateLoss'),
            student='head',
            teacher='head')
    ])
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_base_.train_pipeline[:-2],
            dict(type='GenerateTarget', encoder=_codec),
            dict(type='PackPoseInputs')
        ]))
