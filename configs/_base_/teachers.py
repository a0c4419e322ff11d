# Teachers that MMPose trained: where their config and their weights are. A config that lists this
# file among its bases takes one as `_base_._teachers.<name>`.
_weights_url = 'https://download.openmmlab.com/mmpose/'

_teachers = dict(
    hrnet_w48_coco=dict(
        config='mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w48_8xb32-210e_coco-256x192.py',
        checkpoint=_weights_url + 'v1/body_2d_keypoint/topdown_heatmap/coco/'
        'td-hm_hrnet-w48_8xb32-210e_coco-256x192-0e67c616_20220913.pth'),
    hrnet_w48_mpii=dict(
        config='mmpose::body_2d_keypoint/topdown_heatmap/mpii/td-hm_hrnet-w48_8xb64-210e_mpii-256x256.py',
        checkpoint=_weights_url + 'top_down/hrnet/hrnet_w48_mpii_256x256-92cab7bd_20200812.pth'),
    hrnet_w48_coco_wholebody=dict(
        config='mmpose::wholebody_2d_keypoint/topdown_heatmap/coco-wholebody/'
        'td-hm_hrnet-w48_8xb32-210e_coco-wholebody-256x192.py',
        checkpoint=_weights_url + 'top_down/hrnet/hrnet_w48_coco_wholebody_256x192-643e18cb_20200922.pth'),
    hrnetv2_w18_onehand10k=dict(
        config='mmpose::hand_2d_keypoint/topdown_heatmap/onehand10k/td-hm_hrnetv2-w18_8xb64-210e_onehand10k-256x256.py',
        checkpoint=_weights_url + 'hand/hrnetv2/hrnetv2_w18_onehand10k_256x256-30bc9c6b_20210330.pth'),
    rtmpose_l_coco_wholebody=dict(
        config='mmpose::wholebody_2d_keypoint/rtmpose/coco-wholebody/rtmpose-l_8xb64-270e_coco-wholebody-256x192.py',
        checkpoint=_weights_url + 'v1/projects/rtmposev1/'
        'rtmpose-l_simcc-coco-wholebody_pt-aic-coco_270e-256x192-6f206314_20230124.pth'))
