# What the configs of DSKD share. A config picks what it needs, as `_base_._dskd`; but for the import
# nothing here acts by itself.
# After https://doi.org/10.1007/978-3-031-44210-0_34, our reconstruction from its abstract (docs/dskd.md).
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

# A config adds the guides: finished trainings of the same network, each a forward pass a step. Copies
# of the run itself (guides='generations') cost accuracy where it has not saturated (docs/dskd.md).
_dskd = dict(
    type='DSKDHook',
    alpha=3.0,  # ours: three times the weight of the task loss
    gamma=0.001)  # ours: of the classification over positions
