# DSKD: MobileNetV2 guided by an earlier training of itself, the one that MMPose published. MPII, 256 x 256.
# Ours: the abstract names no network. Sources of the numbers: _base_/dskd.py. Not yet trained by us.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/mpii/td-hm_mobilenetv2_8xb64-210e_mpii-256x256.py', '_base_/dskd.py']

_guide = ('https://download.openmmlab.com/mmpose/top_down/mobilenetv2/'
          'mobilenetv2_mpii_256x256-e068afa7_20200812.pth')
custom_hooks = [*_base_.custom_hooks, dict(_base_._dskd, guides=[_guide])]
