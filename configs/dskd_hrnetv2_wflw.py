# DSKD: HRNetV2-w18 guided by its own earlier selves, faces. WFLW, 256 x 256.
# Sources of the numbers: _base_/dskd.py. Not yet trained by us.
_base_ = ['mmpose::face_2d_keypoint/topdown_heatmap/wflw/td-hm_hrnetv2-w18_8xb64-60e_wflw-256x256.py', '_base_/dskd.py']

custom_hooks = [*_base_.custom_hooks, _base_._dskd]
