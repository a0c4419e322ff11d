"""Values that are made as wrong ones for a setting and mean something there, each with why."""

WEIGHT = {
    '0': 'the loss is switched off',
    'huge': 'losses are of very different sizes: no weight is too large that float32 holds',
}
ANY_NAME = {"'no'": 'a name may be any text', "'False'": 'a name may be any text'}
ANY_SEED = {
    '0': 'a seed like others',
    '-1': 'a seed like others: it is read as text, or by torch, which takes it',
    'huge': 'a seed like others',
}
NO_INIT = {
    'None': "the class's own initialisation",
    '[]': 'a list of no initialisers: what the layers do of themselves',
}

SCHEDULE = {
    'epochs': {
        'None': 'the whole run',
        'huge': 'longer than the run: a warning says how far it gets',
    },
    'start': {'0': 'from the first epoch on', 'huge': 'after the run: a warning says so'},
    'stop': {'None': 'never', 'huge': 'after the run: never'},
}
BALANCE = {
    'interval': {'huge': 'measured in the warmup, and then no more'},
    'warmup': {'huge': 'measured at every step'},
    'limit': {'huge': 'no limit to speak of'},
}
TEACHER = {
    'checkpoint': {'None': 'untrained, for trials; a warning says so'},
    'keypoints': {'None': "the student's, in the same order"},
    'view': {**ANY_NAME, 'None': "the student's images"},
    'dtype': {'None': 'as the student runs'},
    'channels_last': {'None': 'by the device'},
}
ENTRY = {
    'adapter': {'None': 'the channels are the same'},
    'resize': {'None': 'the sizes are the same'},
    'weight': WEIGHT,
    'schedule': {'None': 'constant', '{}': 'constant, the default type'},
    'name': {**ANY_NAME, 'None': "numbered by its place, 'distill0'"},
}
CROSS = {
    'heatmap_codec': {'None': 'the one that the head or the teacher has'},
    'loss_weight': WEIGHT,
}
CLASSIFICATION = {
    'pos_weight': {'None': "as much as the map's negatives"},
    'focus': {'None': '2'},
    'loss_weight': WEIGHT,
}
FAU = {
    'kernel_sizes': {'[1, 1]': 'two kernels of one size have weights of their own'},
    'init_cfg': NO_INIT,
}

#: by the place, the setting and the name of the value
MEANINGFUL = {
    'CrossCoordinateLoss': CROSS,
    'CrossHeatmapLoss': CROSS,
    'CrossSimCCLoss': CROSS,
    'FeatureMSELoss': {'loss_weight': WEIGHT},
    'HHDLoss': {
        'beta': {'None': "the student's head has one"},
        'crop_size': {'[1, 1]': 'windows of one pixel'},
        'norm_student': {'None': "the mode's"},
        'norm_teacher': {'None': "the mode's"},
        'window': {'None': "the mode's"},
        'padding': {'None': "the mode's"},
        'align': {'None': "the mode's"},
        'loss_weight': WEIGHT,
    },
    'HeatmapClassificationLoss': {
        **CLASSIFICATION,
        'key': {**ANY_NAME, 'None': "the class's name"},
    },
    'HeatmapKLLoss': {'loss_weight': WEIGHT},
    'JointsMSELoss': {'loss_weight': WEIGHT, 'key': {**ANY_NAME, 'None': "the class's name"}},
    'PearsonFeatureLoss': {'loss_weight': WEIGHT},
    'SimCCKLLoss': {'beta': {'None': "that of the head's loss"}, 'loss_weight': WEIGHT},
    'FAU': FAU,
    'PixelShuffleHead': {
        'decoder': {'None': 'a head that is trained and not read, as in MMPose'},
        'init_cfg': NO_INIT,
    },
    'StackedHourglass': {'init_cfg': NO_INIT},
    'UnbiasedIntegralHead': {
        'in_featuremap_size': {'[1, 1]': 'a feature of one pixel, which layers may enlarge'},
        'deconv_out_channels': {'None': 'no such layers', '[]': 'no such layers'},
        'conv_out_channels': {'None': 'no such layers', '[]': 'no such layers'},
        'final_layer': {'None': 'the feature has K channels already', '{}': 'a 1 x 1 convolution'},
        'decoder': {'None': 'a head that is trained and not read, as in MMPose'},
        'init_cfg': NO_INIT,
    },
    'OKDHPHead': {
        'branches': {'None': 'all branches are alike'},
        'neck': {'None': 'no neck'},
        'fau': {'None': 'the plain mean of the branches', '{}': 'FAU with its defaults'},
        'ensemble_weight': {'None': "the preset's", 'huge': WEIGHT['huge']},
        'kd_loss': {'None': "the preset's", '{}': "the preset's"},
        'kd_schedule': {'None': "the preset's", '{}': "the preset's"},
        'detach_ensemble': {'None': "the preset's"},
        'deploy_branch': {'0': 'the first branch'},
        'init_cfg': NO_INIT,
    },
    'OKDHPHead.fau': FAU,
    'OKDHPHead.kd_loss': {'loss_weight': WEIGHT},
    'OKDHPHead.kd_schedule': SCHEDULE,
    'OKDHPHead.branches': {
        'backbone': {'{}': 'as the others'},
        'neck': {'None': 'no neck in this branch'},
        'stop': {'None': 'the whole backbone'},
        'head': {'{}': 'as the others'},
    },
    'OKDHPHead.test_cfg': {'branch': {'0': 'the first branch'}},
    'OCDHead': {
        'heatmap_weight': {'huge': WEIGHT['huge']},
        'cross': {'None': "the one for the head's kind"},
        'balance': {'{}': 'its defaults'},
        'cross_weight': {**WEIGHT, 'None': "the one for the head's kind"},
        'cross_schedule': {'None': 'constant', '{}': 'constant, the default type'},
        'assistant': {'None': 'no assistant'},
        'assistant_weight': WEIGHT,
        'assistant_schedule': {'None': 'constant', '{}': 'constant, the default type'},
        'init_cfg': {'None': 'the only one: the parts have their own'},
    },
    'OCDHead.deploy': {'neck': {'None': 'no neck'}},
    'OCDHead.cross': CROSS,
    'OCDHead.balance': BALANCE,
    'OCDHead.cross_schedule': SCHEDULE,
    'OCDHead.assistant_schedule': SCHEDULE,
    'PoseDistiller': {
        'data_preprocessor': {'None': 'the student has its own'},
        'init_cfg': {'None': 'the only one: the student has its own'},
    },
    'PoseDistiller.teachers': TEACHER,
    'Distillation': {
        **ENTRY,
        'teacher_weights': {'None': 'all 1'},
        'balance': {'{}': 'its defaults'},
    },
    'Distillation.schedule': SCHEDULE,
    'Distillation.balance': BALANCE,
    'ThroughTeacherHead': {
        **ENTRY,
        'loss': {'None': "MMPose's KeypointMSELoss"},
        'balance': {'{}': 'its defaults'},
    },
    'ThroughTeacherHead.schedule': SCHEDULE,
    'ThroughTeacherHead.balance': BALANCE,
    'DSKDHook': {
        'num_guides': {'None': '2'},
        'interval': {'None': '0.1 of the run'},
        'lengths': {'None': 'all the same'},
        'teachers': {'[]': 'the default: none'},
        'alpha': {**WEIGHT, 'None': "the one for the student's kind"},
        'alpha_schedule': {'None': 'constant', '{}': 'constant, the default type'},
        'gamma': {**WEIGHT, 'None': "the one for the student's kind"},
        'gamma_schedule': {'None': 'constant', '{}': 'constant, the default type'},
        'keep_prob': {'None': '0.75'},
        'form': {'None': 'soft'},
        'threshold': {'None': '0.5'},
        'floor': {'None': '0.1'},
        'below_floor': {'None': 'zero'},
        'cls': {'None': 'its defaults', '{}': 'its defaults'},
        'cls_target': {'None': 'the ground truth'},
        'guide_dtype': {'None': 'as the student runs'},
        'seed': {**ANY_SEED, 'None': "the run's"},
        'log_interval': {'huge': 'nothing is logged in a shorter run'},
    },
    'DSKDHook.cls': CLASSIFICATION,
    'DSKDHook.alpha_schedule': SCHEDULE,
    'DSKDHook.gamma_schedule': SCHEDULE,
    'DSKDHook.teachers': TEACHER,
    'DSKDHook.guides': TEACHER,
    'AccuracyIntervalHook': {
        'interval': {'None': "the logger's", 'huge': 'at the end of a shorter epoch'}
    },
    'DistillationVisualizationHook': {
        'interval': {'huge': 'after the last epoch alone'},
    },
    'BranchStatisticsHook': {'interval': {'huge': 'nothing is written in a shorter run'}},
    'TeacherCacheHook': {
        'path': ANY_NAME,
        'region_size': {'huge': 'a region larger than the map keeps all of it'},
        'max_gb': {'None': 'no limit', 'huge': 'more than there is: no limit'},
    },
    'FixedAugmentations': {'seed': ANY_SEED},
    'PackPoseViews': {
        'meta_keys': {'[]': 'the samples keep no such information'},
        'pack_transformed': {
            'True': 'a truth value, as MMPose documents it',
            'False': 'a truth value, as MMPose documents it',
        },
    },
    'SeededSamples': {'seed': {'0': 'a seed like others', 'huge': 'a seed like others'}},
    'TeacherView': {'input_size': {'[1, 1]': 'a picture of one pixel'}, 'name': ANY_NAME},
}
