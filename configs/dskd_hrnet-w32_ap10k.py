# DSKD: HRNet-w32 guided by an earlier training of itself, the one that MMPose published, animals. AP-10K, 256 x 256.
# Ours: the abstract names no network. Sources of the numbers: _base_/dskd.py. Not yet trained by us.
_base_ = ['mmpose::animal_2d_keypoint/topdown_heatmap/ap10k/td-hm_hrnet-w32_8xb64-210e_ap10k-256x256.py', '_base_/dskd.py']

_guide = ('https://download.openmmlab.com/mmpose/animal/hrnet/'
          'hrnet_w32_ap10k_256x256-18aac840_20211029.pth')
custom_hooks = [*_base_.custom_hooks, dict(_base_._dskd, guides=[_guide])]
