"""A training step of OCDHead against the plain step and the heatmap head's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmengine.model import BaseModel
from torch import Tensor, nn

from mmpose_kd.ocd_tcd.codec import heatmap_samples

from .distiller import STEP, batch_of, offline, step
from .models import build, total
from .report import steps_table
from .timing import Bench, Times

PLAIN = 'plain step'
PARTS = 'plain step + heatmap head'
OCD = 'OCD, the mean over an interval of the balance'
RESTING = 'OCD, a step that does not measure the balance'
MEASURING = 'OCD, a step that does'
WITHOUT = 'the same without cross loss'


def ocd_table(
    bench: Bench,
    names: Sequence[str] = (
        'ocd_deeppose_res50_coco',
        'ocd_simcc_mobilenetv2_coco',
        'ocd_rtmpose-s_coco',
    ),
    batch: int = 8,
) -> str:
    """What balance and cross loss add to the two heads' own losses."""
    tables = []
    for name in names:
        cfg = offline(name)
        images, samples = batch_of(cfg, batch, bench.device)
        model = build(cfg.model, bench.device)
        plain = build(model.head.deployed().config(cfg.model), bench.device)
        interval = model.head.balance.interval
        times = bench.interleaved(
            {
                PLAIN: step(plain, images, samples),
                PARTS: two_losses(plain, model.head.heatmap, images, samples),
                RESTING: ocd_step(model, images, samples),
                MEASURING: ocd_step(model, images, samples, measure=True),
                WITHOUT: ocd_step(model, images, samples, cross=False),
            },
            settle=True,
        )
        times = amortised(times, interval)
        tables.append(
            steps_table(
                f'OCD: {name}',
                f'{STEP} Batch {batch}, random weights. The balance is measured at one step of '
                f'{interval}. Wanted of the mean at most: 1.03 times its parts.',
                times,
                (PLAIN, PARTS, OCD, RESTING, MEASURING, WITHOUT),
                PARTS,
                PLAIN,
            )
        )
    return '\n'.join(tables)


def two_losses(
    plain: BaseModel, heatmap: nn.Module, images: Tensor, samples: list
) -> Callable[[], None]:
    """The plain model's step with a stock heatmap head on the same feature, and nothing else.

    Args:
        plain: The stock model.
        heatmap: The head; its accuracy is not computed.
        images: Normalised (B, 3, H, W).
        samples: With labels and heatmaps.
    """
    beside, _ = heatmap_samples(samples)

    def run() -> None:
        plain.zero_grad(set_to_none=True)
        heatmap.zero_grad(set_to_none=True)
        feats = plain.backbone(images)
        necked = plain.neck(feats) if plain.with_neck else feats
        own = plain.head.loss(necked, samples, train_cfg=plain.train_cfg)
        (total(own) + total(heatmap.loss(feats, beside, dict(compute_acc=False)))).backward()

    return run


def ocd_step(
    model: BaseModel, images: Tensor, samples: list, measure: bool = False, cross: bool = True
) -> Callable[[], None]:
    """A step of the model with OCDHead.

    Args:
        model: It has been built, and no step was done yet, so that the first one measures.
        images: Normalised (B, 3, H, W).
        samples: With labels and heatmaps.
        measure: Whether the balance is measured, at each call or (but the first) at none.
        cross: Whether there is the cross loss.
    """
    run_step, head = step(model, images, samples), model.head
    cross_weight = head.cross_weight if cross else 0.0

    def run() -> None:
        head.balance.warmup, head.balance.interval = 1, 1 if measure else 10**9
        head.cross_weight = cross_weight
        run_step()

    return run


def amortised(times: Times, interval: int) -> Times:
    """With the time of the mean step, of which one in ``interval`` measures the balance."""
    pairs = zip(times.seconds[RESTING], times.seconds[MEASURING])
    mean = [((interval - 1) * rest + measured) / interval for rest, measured in pairs]
    return Times({**times.seconds, OCD: mean}, times.unit)
