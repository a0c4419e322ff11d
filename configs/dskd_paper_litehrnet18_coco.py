# DSKD: LiteHRNet-18 guided by a bigger teacher, HRNet-w48, at first, then by its own finished trainings as well, all
# of them as binary maps. COCO, 256 x 192. This command trains the generations:
#   mmpose-kd generations configs/dskd_paper_litehrnet18_coco.py --work-dir work_dirs/dskd_paper --generations 3
# Ours: the likeliest reading of the abstract, which names no network. Binary targets: ODKD, of the same group,
# https://arxiv.org/abs/2104.10414. Not yet trained by us.
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_litehrnet-18_8xb64-210e_coco-256x192.py',
    '_base_/teachers.py',
    '_base_/dskd.py'
]

_binary = dict(form='hard', cls=dict(form='bce'))  # the student learns 0 and 1, and classifies each pixel
custom_hooks = [
    *_base_.custom_hooks,
    dict(_base_._dskd, alpha=1.0, teachers=[_base_._teachers.hrnet_w48_coco], **_binary)
]
