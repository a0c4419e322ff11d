# DSKD: LiteHRNet-18 guided by a big teacher, HRNet-w48, and by its own earlier selves. COCO, 256 x 192.
# After https://doi.org/10.1007/978-3-031-44210-0_34, our reconstruction from its abstract (docs/dskd.md).
# Not yet trained by us.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_litehrnet-18_8xb64-210e_coco-256x192.py']
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='DSKDHook',
        teachers=[
            dict(
                config='mmpose::body_2d_keypoint/topdown_heatmap/coco/'
                'td-hm_hrnet-w48_8xb32-210e_coco-256x192.py',
                checkpoint='https://download.openmmlab.com/mmpose/v1/body_2d_keypoint/topdown_heatmap/coco/'
                'td-hm_hrnet-w48_8xb32-210e_coco-256x192-0e67c616_20220913.pth')
        ],
        guides='generations',
        num_guides=2,  # ours: the run in thirds; beside the teacher
        alpha=3.0,  # ours: three times the weight of the task loss
        gamma=0.001)  # ours: of the classification over positions
]
