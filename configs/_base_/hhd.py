# What the configs of HHD share. A config picks what it needs, as `_base_._hhd_head`; but for the import
# nothing here acts by itself.
# Paper: https://doi.org/10.1016/j.imavis.2024.105041; numbers are its release's for MPII.
_base_ = ['teachers.py']
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

_coordinates = dict(type='IntegralRegressionLabel', sigma=2.0, normalize=True)
_hhd_student = dict(
    type='TopdownPoseEstimator',
    test_cfg=dict(flip_test=True, shift_coords=True, shift_heatmap=True))
_hhd_head = dict(
    type='DSNTHead',
    beta=10.0,
    # SmoothL1 of the coordinates alone: DSNTHead asks for a second loss, which weighs 0
    loss=dict(
        type='MultipleLossWrapper',
        losses=[
            dict(type='SmoothL1Loss', use_target_weight=True),
            dict(type='KeypointMSELoss', use_target_weight=True, loss_weight=0.0)
        ]))
_hhd_released = dict(  # the release's loss, its weight of 0.5 and no target weights
    name='hhd',
    loss=dict(type='HHDLoss', mode='released', use_target_weight=False),
    student='head.final_layer',
    teacher='head.final_layer')
_jitter_released = dict(
    type='RandomBBoxTransform',
    shift_prob=0,
    rotate_factor=80,  # MMPose's defaults, where its LiteHRNet has 60
    scale_factor=(0.5, 1.5))  # and 0.75 to 1.25
_hhd = dict(
    _hhd_released,
    loss=dict(type='HHDLoss', mode='released'),  # with target weights
    balance=True,  # the release's weight drowns the coordinates of a pretrained student
    weight=10.0)  # ours: times the gradient of the coordinates' loss, docs/pretrained_search.md
