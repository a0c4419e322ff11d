# What the configs of TCD share. A config picks what it needs, as `_base_._tcd_task`; but for the import
# nothing here acts by itself.
# Paper: https://doi.org/10.1007/978-3-031-91575-8_21, our reconstruction (docs/tcd.md).
_base_ = ['teachers.py']
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

_gaussians_256x192 = dict(
    type='MSRAHeatmap',
    input_size=(192, 256),
    heatmap_size=(48, 64),
    sigma=2,  # the teacher's codec
    unbiased=True)  # the same Gaussians, not rounded to whole pixels

_tcd_task = dict(
    name='task',
    type='ThroughTeacherHead',
    student='backbone',
    balance=True,
    weight=1.0)  # ours: pulls at the backbone as strongly as the student's loss
_tcd_adapter = dict(type='pixel_shuffle', out_channels=48, scale_factor=8, upsample_kernel=1)
