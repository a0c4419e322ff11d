# DSKD: HRNetV2-w18 guided by an earlier training of itself, the one that MMPose published, faces. WFLW, 256 x 256.
# Ours: the abstract names no network. Sources of the numbers: _base_/dskd.py. Not yet trained by us.
_base_ = ['mmpose::face_2d_keypoint/topdown_heatmap/wflw/td-hm_hrnetv2-w18_8xb64-60e_wflw-256x256.py', '_base_/dskd.py']

_guide = ('https://download.openmmlab.com/mmpose/face/hrnetv2/'
          'hrnetv2_w18_wflw_256x256-2bf032a6_20210125.pth')
custom_hooks = [*_base_.custom_hooks, dict(_base_._dskd, guides=[_guide])]
