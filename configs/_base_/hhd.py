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
_hhd = dict(
    name='hhd',
    # the release's loss; its weight of 0.5 drowns the coordinates of a pretrained student
    loss=dict(type='HHDLoss', mode='released'),
    balance=True,
    weight=10.0,  # ours: times the gradient of the coordinates' loss, docs/pretrained_search.md
    student='head.final_layer',
    teacher='head.final_layer')
