# DSKD: HRNetV2-w18 guided by its own earlier selves, faces. WFLW, 256 x 256.
# After https://doi.org/10.1007/978-3-031-44210-0_34, our reconstruction from its abstract (docs/dskd.md).
# Not yet trained by us.
_base_ = ['mmpose::face_2d_keypoint/topdown_heatmap/wflw/td-hm_hrnetv2-w18_8xb64-60e_wflw-256x256.py']
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
