# DSKD: HRNet-w32 guided by an earlier training of itself, the one that MMPose published. COCO, 256 x 192.
# Ours: the abstract names no network. Sources of the numbers: _base_/dskd.py. Not yet trained by us.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py', '_base_/dskd.py']

_guide = ('https://download.openmmlab.com/mmpose/v1/body_2d_keypoint/topdown_heatmap/coco/'
          'td-hm_hrnet-w32_8xb64-210e_coco-256x192-81c58e40_20220909.pth')
custom_hooks = [*_base_.custom_hooks, dict(_base_._dskd, guides=[_guide])]
