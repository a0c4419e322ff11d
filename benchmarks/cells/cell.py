"""The cells, as they were named before any of their runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

GAIN = Path(__file__).parents[1] / 'gain/configs'
HERE = Path(__file__).parent / 'configs'
SEEDS = (0, 1, 2, 3, 4)
TEACHERS = (100, 101)  # seeds of the runs that teach, which no table counts


@dataclass(frozen=True)
class Cell:
    """A data set, a size, a length.

    Attributes:
        name: One letter.
        title: What it stands for.
        heads: Config of the plain model by the name of its head.
        persons: To train on.
        epochs: Of a training.
        longer: Epochs of the plain model's longer trainings. A method is compared with the
            shortest of them that takes at least its time, with one of its time if none does.
        yardstick: Of PCK.
        tested: Persons of the training set that are kept aside for tuning.
    """

    name: str
    title: str
    heads: dict[str, Path]
    persons: int
    epochs: int
    longer: tuple[int, ...]
    yardstick: str
    tested: int

    def plain_epochs(self, ratio: float) -> int:
        """Epochs of the plain model that take at least as long as a method.

        Args:
            ratio: Time of the method's training step, in the plain model's.
        """
        needed = self.epochs * ratio
        found = [epochs for epochs in (self.epochs, *self.longer) if epochs >= needed - 1e-6]
        return found[0] if found else math.ceil(needed)


CELLS = {
    cell.name: cell
    for cell in (
        Cell(
            'P',
            'MobileNetV2 from ImageNet, 96 x 96, 1,000 people of lspet, 25 epochs',
            {h: HERE / f'p_{h}.py' for h in ('heatmap', 'deeppose', 'integral', 'simcc')},
            persons=1000,
            epochs=25,
            longer=(28, 31, 35, 40, 50),
            yardstick='torso',
            tested=800,
        ),
        Cell(
            'A',
            'MobileNetV2 from ImageNet, 96 x 96, 1,000 animals of livestock18, 25 epochs',
            {h: HERE / f'a_{h}.py' for h in ('heatmap', 'deeppose', 'integral', 'simcc')},
            persons=1000,
            epochs=25,
            longer=(28, 31, 35, 40, 50),
            yardstick='bbox',
            tested=500,
        ),
        Cell(
            'S',
            'ResNet-18 of quarter width from scratch, 64 x 64, 500 people of lspet, 120 epochs',
            {
                'heatmap': GAIN / 'plain_res18-w16_lspet.py',
                'deeppose': GAIN / 'plain_deeppose-res18-w16_lspet.py',
                'integral': GAIN / 'plain_integral-res18-w16_lspet.py',
                'simcc': GAIN / 'plain_simcc-full-res18-w16_lspet.py',
            },
            persons=500,
            epochs=120,
            longer=(132, 150, 168, 192, 240),
            yardstick='torso',
            tested=800,
        ),
    )
}
