# DSKD: LiteHRNet-18 guided by its own earlier selves. COCO, 256 x 192.
# Sources of the numbers: _base_/dskd.py. Not yet trained by us.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_litehrnet-18_8xb64-210e_coco-256x192.py', '_base_/dskd.py']

custom_hooks = [*_base_.custom_hooks, _base_._dskd]
