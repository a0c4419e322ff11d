"""The demo: its config is in the package, and stays within the folder it is given."""

from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmpose_kd.demo.run import CONFIG, demo_config


def test_the_demos_config_is_part_of_the_package_and_builds(tmp_path):
    assert CONFIG.is_file()
    init_default_scope('mmpose')
    cfg = demo_config(tmp_path)
    model = MODELS.build(cfg.model)
    assert type(model.head).__name__ == 'OKDHPHead'
    assert cfg.work_dir == str(tmp_path / 'train')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.data_root == str(tmp_path / 'data')
