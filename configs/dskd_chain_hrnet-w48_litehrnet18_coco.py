# DSKD: LiteHRNet-18 guided by a big teacher, HRNet-w48, and by an earlier training of itself, the one
# that MMPose published. COCO, 256 x 192.
# Ours: what can be had in one training of dskd_paper_litehrnet18_coco.py. Sources of the numbers: _base_/dskd.py.
# Not yet trained by us.
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_litehrnet-18_8xb64-210e_coco-256x192.py',
    '_base_/teachers.py',
    '_base_/dskd.py'
]

_guide = ('https://download.openmmlab.com/mmpose/top_down/litehrnet/'
          'litehrnet18_coco_256x192-6bace359_20211230.pth')
custom_hooks = [
    *_base_.custom_hooks,
    dict(_base_._dskd, teachers=[_base_._teachers.hrnet_w48_coco], guides=[_guide])
]
