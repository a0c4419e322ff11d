# DWPose's first stage (https://arxiv.org/abs/2307.15880) as two entries: RTMPose-m learns features
# and SimCC logits of RTMPose-l. COCO-WholeBody, 256 x 192.
# The release's run: networks and numbers of MMPose's own configs/wholebody_2d_keypoint/dwpose/coco-wholebody/s1_dis,
# dwpose_l_dis_m_coco-256x192.py. Not yet trained by us.
_base_ = [
    'mmpose::wholebody_2d_keypoint/rtmpose/coco-wholebody/rtmpose-m_8xb64-270e_coco-wholebody-256x192.py',
    '_base_/teachers.py'
]
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)

_decay = dict(type='linear_decay')
_feature = dict(
    name='feature', loss=dict(type='FeatureMSELoss', divisor='batch', loss_weight=0.00007),
    student='backbone', teacher='backbone', schedule=_decay,
    adapter=dict(type='Conv2d', in_channels=768, out_channels=1024, kernel_size=1))
_logits = ('head.cls_x', 'head.cls_y')
_logit = dict(  # keypoints without a label are taught too, as in DWPose
    name='logit', loss=dict(type='SimCCKLLoss', use_target_weight=False, loss_weight=0.1),
    student=_logits, teacher=_logits, schedule=_decay)
model = dict(
    _delete_=True, type='PoseDistiller', student=_base_.model,
    teachers=[_base_._teachers.rtmpose_l_coco_wholebody], distill=[_feature, _logit])
optim_wrapper = dict(clip_grad=dict(max_norm=1.0, norm_type=2))
custom_hooks = [*_base_.custom_hooks, dict(type='TeacherMetricsHook')]
