"""Which modules are mutated, and which test files belong to each; no imports, all may read it."""

#: module -> (its group, its test files); those that a whole group shares stand in SHARED
MODULES = {
    'losses/feature_mse': ('losses', ['losses/test_feature_mse', 'distiller/test_distillation']),
    'losses/heatmap_kl': ('losses', ['losses/test_heatmap_kl', 'okdhp/test_loss']),
    'losses/joints_mse': ('losses', ['losses/test_joints_mse', 'okdhp/test_loss']),
    'losses/simcc_kl': ('losses', ['losses/test_simcc_kl', 'distiller/test_distillation']),
    'core/loss': (
        'losses',
        [
            'core/test_loss',
            'losses/test_heatmap_kl',
            'losses/test_simcc_kl',
            'losses/test_joints_mse',
            'distiller/test_distillation',
            'dskd/test_settings',
            'core/test_gradient_balance',
        ],
    ),
    'hhd/loss': (
        'losses',
        ['hhd/test_loss', 'hhd/test_settings', 'hhd/test_released', 'hhd/test_integral_head'],
    ),
    'hhd/windows': ('losses', ['hhd/test_windows', 'hhd/test_loss', 'hhd/test_released']),
    'hhd/centre': (
        'losses',
        ['hhd/test_centre', 'hhd/test_loss', 'hhd/test_released', 'hhd/test_integral_head'],
    ),
    'dskd/losses': (
        'losses',
        [
            'dskd/test_heatmap_classification',
            'dskd/test_own_loss',
            'dskd/test_dense_guidance',
            'dskd/test_settings',
            'dskd/test_guidance',
            'dskd/test_students',
        ],
    ),
    'ocd_tcd/losses': (
        'losses',
        [
            'ocd_tcd/test_losses',
            'ocd_tcd/test_simcc_loss',
            'ocd_tcd/test_head_settings',
            'distiller/test_mistakes',
        ],
    ),
    'ocd_tcd/simcc_loss': (
        'losses',
        ['ocd_tcd/test_simcc_loss', 'ocd_tcd/test_losses'],
    ),
    'pkd/loss': ('losses', ['pkd/test_loss']),
    'core/checks': (
        'checks',
        [
            'core/test_checks',
            'dskd/test_settings',
            'hhd/test_settings',
            'okdhp/test_settings',
            'ocd_tcd/test_head_settings',
            'ocd_tcd/test_entry_settings',
            'distiller/test_mistakes',
            'test_settings',
        ],
    ),
    'core/schedule': ('schedule', ['core/test_schedule']),
    'core/checkpoints': ('files', ['core/test_checkpoints', 'core/test_safe_loading']),
    'core/whole_files': (
        'files',
        ['core/test_whole_files', 'core/test_checkpoints', 'hooks/test_exact_resume_hook'],
    ),
    'core/safe_loading': (
        'files',
        ['core/test_strict_unpickler', 'core/test_safe_loading', 'core/test_checkpoints'],
    ),
    'dskd/files': ('files', ['dskd/test_files', 'dskd/test_state', 'dskd/test_plan']),
    'gain/files': ('files', ['gain/test_files', 'gain/test_progress', 'gain/test_command']),
    'export/config': ('export', ['export/test_config']),
    'export/own_types': ('export', ['export/test_own_types']),
    'export/same_predictions': ('export', ['export/test_same_predictions']),
    'export/student': ('export', ['export/test_parts']),
}

#: test files that all modules of a group have in common
SHARED = {
    'losses': ['losses/test_defaults'],
    'export': ['export/test_student', 'export/test_kinds_of_config', 'dskd/test_export'],
}


def tests_of(module: str) -> list[str]:
    """The test files of a module, as paths under the checkout; some may not be there."""
    group, names = MODULES[module]
    return [f'tests/{name}.py' for name in names + SHARED.get(group, [])]
