"""The student as an ONNX file: what it holds, and that runtimes find what MMPose finds."""

import copy

import matplotlib.cbook
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpose.models.heads import RLEHead
from mmpose.structures import PoseDataSample

from mmpose_kd.cli import main
from mmpose_kd.export import ExportError, export_student
from mmpose_kd.export import onnx_file as step
from mmpose_kd.export.graph import StudentGraph

from ..helpers.models import (
    BACKBONES,
    CODEC,
    SIZE,
    build,
    images,
    okdhp_config,
    plain_config,
    randomize,
)
from ..helpers.ocd import HEADS, UDP, ocd_of

# A person on a photograph that comes with matplotlib, in its pixels
PICTURE, PERSON = 'grace_hopper.jpg', (40.0, 30.0, 500.0, 600.0)


def steps(size=SIZE, **affine):
    return [
        dict(type='LoadImage'),
        dict(type='GetBBoxCenterScale'),
        dict(type='TopdownAffine', input_size=size, **affine),
        dict(type='PackPoseInputs'),
    ]


def run_of(folder, model, seed=0, **affine):
    """A config and a checkpoint with random weights, as a run leaves them."""
    loader = dict(dataset=dict(pipeline=steps(**affine)))
    cfg = Config(
        dict(
            default_scope='mmpose',
            custom_imports=dict(imports=['mmpose_kd'], allow_failed_imports=False),
            model=model,
            val_dataloader=loader,
            test_dataloader=loader,
        )
    )
    folder.mkdir(exist_ok=True)
    cfg.dump(folder / 'run.py')
    trained = build(copy.deepcopy(cfg.model), init=False)
    axes = {name: x.clone() for name, x in trained.named_parameters() if 'linspace' in name}
    randomize(trained, seed)
    for name, weights in trained.named_parameters():
        if name == 'head.deploy.head.fc.weight':  # so that coordinates lie inside the crop
            weights.data *= 0.02
        elif name.startswith('head.deploy.') and name.endswith('final_layer.weight'):
            weights.data *= 0.01  # so that a softmax has no single place
        elif name == 'head.deploy.head.fc.bias':
            weights.data[:] = 0.4
        elif name in axes:  # no weights, though integral heads have them as such
            weights.data = axes[name]
    torch.save(dict(state_dict=trained.state_dict(), meta={}), folder / 'epoch_1.pth')
    return folder / 'run.py', folder / 'epoch_1.pth', folder / 'out'


def model_of(kind):
    return okdhp_config() if kind == 'heatmap' else ocd_of(kind)


def session(path):
    runtime = pytest.importorskip('onnxruntime')
    return runtime.InferenceSession(str(path), providers=['CPUExecutionProvider'])


@pytest.fixture()
def packages():
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')


# ------------------------------------------------------------------------ the form of the pictures


@pytest.mark.parametrize('normalised', [True, False])
@pytest.mark.parametrize('channels', ['bgr', 'rgb'])
@pytest.mark.parametrize('to_rgb', [True, False])
def test_the_network_sees_what_the_data_preprocessor_makes(to_rgb, channels, normalised):
    config = plain_config()
    config['data_preprocessor']['bgr_to_rgb'] = to_rgb
    if not normalised:
        config['data_preprocessor'].update(mean=None, std=None)
    model = build(config, init=False).eval()
    bgr = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, *SIZE[::-1])))
    made = model.data_preprocessor(dict(inputs=list(bgr), data_samples=[PoseDataSample()] * 2))
    graph = StudentGraph(model, SIZE, channels, 'raw', udp=False).eval()
    pictures = (bgr if channels == 'bgr' else bgr.flip(1)).float()
    if normalised:  # as the command and the file's metadata say it
        mean, std = (torch.tensor(x)[:, None, None] for x in graph.statistics)
        pictures = (pictures - mean) / std
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        graph(pictures)
    assert torch.allclose(seen[0], made['inputs'], atol=1e-4)


def test_a_subclass_of_rle_keeps_its_scores():
    class OwnRLEHead(RLEHead):
        pass

    config = plain_config()
    config['neck'] = dict(type='GlobalAveragePooling')
    config['head'] = dict(
        type=OwnRLEHead,
        in_channels=64,
        num_joints=5,
        loss=dict(type='RLELoss', use_target_weight=True),
        decoder=dict(type='RegressionLabel', input_size=SIZE),
    )
    graph = StudentGraph(build(config).eval(), SIZE, 'bgr', 'raw', udp=False).eval()
    assert graph.names == ('keypoints', 'sigma')
    with torch.no_grad():
        assert [x.shape for x in graph(images())] == [(2, 5, 2), (2, 5, 2)]


# ------------------------------------------------------------------------ without the packages


def test_without_the_packages_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    run = run_of(tmp_path, okdhp_config())
    monkeypatch.setitem(__import__('sys').modules, 'onnxruntime', None)
    monkeypatch.setitem(__import__('sys').modules, 'onnx', None)
    assert main(['export', *map(str, run), '--onnx']) == 1
    said = capsys.readouterr().err
    assert 'pip install "mmpose-kd[onnx]"' in said and said.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_half_without_onnx_is_refused(tmp_path):
    run = run_of(tmp_path, okdhp_config())
    with pytest.raises(ValueError, match=r'half=True: give onnx=True \(--onnx\) as well'):
        export_student(*run, half=True)


# ------------------------------------------------------------------------ with them


@pytest.mark.parametrize('kind', ['heatmap', 'rtmcc'])
def test_the_file_gives_what_the_student_gives_for_any_number_of_pictures(
    tmp_path, kind, packages
):
    report = export_student(*run_of(tmp_path, model_of(kind)), onnx=True, onnx_outputs='raw').onnx
    assert report.difference < 1e-4 and report.pixels is None
    student = build(Config.fromfile(tmp_path / 'out/student.py').model, init=False).eval()
    student.load_state_dict(torch.load(tmp_path / 'out/student.pth')['state_dict'])
    run = session(tmp_path / 'out/student.onnx')
    names = {'heatmap': ['heatmaps'], 'rtmcc': ['simcc_x', 'simcc_y']}[kind]
    assert [one.name for one in run.get_outputs()] == names
    mean, std = (x.flatten()[:, None, None] for x in (
        student.data_preprocessor.mean, student.data_preprocessor.std
    ))  # fmt: skip
    for number in (1, 4):
        # pixels as OpenCV reads them, normalised as rtmlib does, against MMPose's own way
        bgr = images(number) * 60 + 110
        with torch.no_grad():
            wanted = student((bgr.flip(1) - mean) / std, None, mode='tensor')
        found = run.run(None, {'input': ((bgr - mean) / std).numpy()})
        for one, other in zip([wanted] if torch.is_tensor(wanted) else wanted, found):
            assert np.allclose(one.numpy(), other, atol=1e-3 * float(one.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize('outputs', ['rtmlib', 'raw'])
@pytest.mark.parametrize('kind', [*HEADS, 'udp'])
def test_every_head_is_written_in_both_forms(tmp_path, kind, outputs, packages):
    model = okdhp_config() if kind == 'udp' else model_of(kind)
    if kind == 'udp':
        model['head']['head']['decoder'] = UDP
    report = export_student(*run_of(tmp_path, model), onnx=True, onnx_outputs=outputs).onnx
    assert report.difference < 1e-3
    own = outputs == 'raw' or kind in ('simcc', 'rtmcc')
    assert report.pixels is None if own else report.pixels <= 0.27
    bins = outputs == 'rtmlib' or kind in ('simcc', 'rtmcc')
    found = [one.name for one in session(report.path).get_outputs()]
    assert (found == ['simcc_x', 'simcc_y']) is bins


@pytest.mark.slow
@pytest.mark.parametrize('name', BACKBONES)
def test_every_backbone_is_written(tmp_path, name, packages):
    report = export_student(*run_of(tmp_path, plain_config(BACKBONES[name])), onnx=True).onnx
    assert report.difference < 1e-3


@pytest.mark.slow
def test_the_newer_exporter_takes_over_where_the_first_cannot(tmp_path, monkeypatch, packages):
    pytest.importorskip('onnxscript')
    monkeypatch.setattr(step, 'OPSET', 99)
    report = export_student(*run_of(tmp_path, okdhp_config()), onnx=True).onnx
    assert report.difference < 1e-3 and report.pixels <= 0.27
    picture = np.zeros((5, 3, *SIZE[::-1]), np.float32)
    found = session(report.path).run(None, {'input': picture})
    assert [x.shape for x in found] == [(5, 5, 2 * n) for n in SIZE]


@pytest.mark.slow
def test_float16_weights_halve_the_file_and_the_difference_is_told(tmp_path, capsys, packages):
    run = run_of(tmp_path, okdhp_config(BACKBONES['ShuffleNetV2']))
    whole = export_student(*run, onnx=True).onnx
    assert main(['export', *map(str, run), '--onnx', '--half', '--force']) == 0
    said = capsys.readouterr().out
    assert 'weights in float16' in said and 'largest difference from MMPose' in said
    assert run[2].joinpath('student.onnx').stat().st_size < 0.6 * whole.bytes


@pytest.mark.slow
def test_a_difference_above_the_tolerance_is_an_error_and_no_file_stays(
    tmp_path, monkeypatch, packages
):
    run = run_of(tmp_path, okdhp_config())
    monkeypatch.setitem(step.TOLERANCE, False, 1e-12)
    with pytest.raises(ExportError, match=r'differs by .* allowed are 1e-12; nothing was written'):
        export_student(*run, onnx=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['epoch_1.pth', 'run.py']


@pytest.mark.slow
def test_a_codec_that_cannot_be_brought_into_rtmlibs_form_is_named(tmp_path, packages):
    model = okdhp_config()
    model['head']['head']['decoder'] = dict(
        type='MegviiHeatmap', input_size=SIZE, heatmap_size=(8, 16), kernel_size=3
    )
    run = run_of(tmp_path, model)
    with pytest.raises(ExportError, match=r'MegviiHeatmap.*give --onnx-outputs raw'):
        export_student(*run, onnx=True)
    assert export_student(*run, onnx=True, onnx_outputs='raw').onnx.difference < 1e-3


@pytest.mark.slow
def test_a_stock_config_and_checkpoint_are_taken_for_an_onnx_file(tmp_path, packages):
    run = run_of(tmp_path, plain_config())
    with pytest.raises(ExportError, match='as an ONNX file: --onnx'):
        export_student(*run)
    assert export_student(*run, onnx=True).onnx.path.is_file()


# ------------------------------------------------------------------------ in rtmlib


def found_by_mmpose(folder, picture, boxes):
    """Keypoints (N, K, 2) of MMPose's own inference, without flip test."""
    from mmpose.apis import inference_topdown, init_model

    model = init_model(str(folder / 'student.py'), str(folder / 'student.pth'), device='cpu')
    model.test_cfg['flip_test'] = False
    samples = inference_topdown(model, picture, np.array(boxes))
    return (
        np.concatenate([sample.pred_instances.keypoints for sample in samples]),
        np.stack([sample.input_scale for sample in samples]),
    )


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['heatmap', 'dark', *HEADS])
def test_rtmlib_finds_what_mmpose_finds_on_a_photograph(tmp_path, kind, packages):
    """Within half a pixel of the input, as rtmlib users call it: a picture of cv2.imread."""
    rtmlib, cv2 = pytest.importorskip('rtmlib'), pytest.importorskip('cv2')
    model = okdhp_config() if kind == 'dark' else model_of(kind)
    if kind == 'dark':
        model['head']['head']['decoder'] = {**CODEC, 'unbiased': True}
    run = run_of(tmp_path, model)
    export_student(*run, onnx=True)
    picture = cv2.imread(str(matplotlib.cbook.get_sample_data(PICTURE, asfileobj=False)))
    boxes = [PERSON, (0, 0, 256, 300), (100, 50, 400, 550)]
    wanted, scale = found_by_mmpose(run[2], picture, boxes)
    pose = rtmlib.RTMPose(str(run[2] / 'student.onnx'), model_input_size=SIZE)
    found, scores = pose(picture, boxes)
    pixels = np.abs(found - wanted) / scale[:, None] * SIZE
    centres = np.reshape(boxes, (3, 2, 2)).mean(1)
    inside = (np.abs(wanted - centres[:, None]) * 2 <= 1.001 * scale[:, None]).all(-1)
    assert wanted.std((0, 1)).min() > 1 and inside.mean() > 0.5 and (scores[inside] > 0).all()
    assert pixels[inside].max() < 0.5, pixels.max()
