# What the configs of OCD share. A config picks what it needs, as `_base_._ocd_simcc`; but for the import
# nothing here acts by itself.
# Paper: https://doi.org/10.1007/978-3-031-91575-8_21, our reconstruction (docs/ocd.md).
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

_gaussians_256x192 = dict(
    type='MSRAHeatmap',
    input_size=(192, 256),
    heatmap_size=(48, 64),
    sigma=2,  # of MMPose's heatmap models at both sizes
    unbiased=True)  # else Gaussians stand on whole pixels, and teach coordinates that are rounded
_gaussians_256x256 = dict(_gaussians_256x192, input_size=(256, 256), heatmap_size=(64, 64))

_heatmap_head = dict(  # the decoder of MMPose's heatmap models: three deconvolutions of 256
    type='HeatmapHead', loss=dict(type='KeypointMSELoss', use_target_weight=True))

# The weights are ours, the paper's could not be had.
_ocd_simcc = dict(
    type='OCDHead',
    heatmap_weight=1.0,  # pulls at the backbone as strongly as the deployed head's loss
    cross_weight=1.0)
_ocd_regression = dict(_ocd_simcc, cross_weight=10.0)  # the best of 1, 10 and 30 on Leeds Sports
