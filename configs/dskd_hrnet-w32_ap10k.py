# DSKD: HRNet-w32 guided by its own earlier selves, animals. AP-10K, 256 x 256.
# After https://doi.org/10.1007/978-3-031-44210-0_34, our reconstruction from its abstract (docs/dskd.md).
# Not yet trained by us.
_base_ = ['mmpose::animal_2d_keypoint/topdown_heatmap/ap10k/td-hm_hrnet-w32_8xb64-210e_ap10k-256x256.py']
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='DSKDHook',
        guides='generations',
        num_guides=2,  # ours: the run in thirds; n guides cost n forward passes
        alpha=3.0,  # ours: three times the weight of the task loss
        gamma=0.001)  # ours: of the classification over positions
]
