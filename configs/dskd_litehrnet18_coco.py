# DSKD: LiteHRNet-18 guided by an earlier training of itself, the one that MMPose published. COCO, 256 x 192.
# Ours: the abstract names no network. Sources of the numbers: _base_/dskd.py. Not yet trained by us.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_litehrnet-18_8xb64-210e_coco-256x192.py', '_base_/dskd.py']

_guide = ('https://download.openmmlab.com/mmpose/top_down/litehrnet/'
          'litehrnet18_coco_256x192-6bace359_20211230.pth')
custom_hooks = [*_base_.custom_hooks, dict(_base_._dskd, guides=[_guide])]
