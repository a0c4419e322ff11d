# What the configs of DSKD share. A config picks what it needs, as `_base_._dskd`; but for the import
# nothing here acts by itself.
# After https://doi.org/10.1007/978-3-031-44210-0_34, our reconstruction from its abstract (docs/dskd.md).
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

_dskd = dict(
    type='DSKDHook',
    guides='generations',
    num_guides=2,  # ours: the run in thirds; n guides cost n forward passes
    alpha=3.0,  # ours: three times the weight of the task loss
    gamma=0.001)  # ours: of the classification over positions
