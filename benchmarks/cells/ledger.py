"""Every run of a cell, in a CSV that outlives the machine it was made on."""

from __future__ import annotations

import csv
import fcntl
import io
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mmpose_kd.core.whole_files import write_whole

RESULTS = Path(__file__).parents[2] / 'docs/results'


@dataclass(frozen=True)
class Row:
    """A finished run.

    Attributes:
        part: ``'val'``: tested on the validation file; ``'tune'``: on persons kept aside.
        head: Of the student.
        method: ``'plain'`` or a key of ``METHODS``.
        epochs: Of the training.
        seed: Of the training.
        pck02, pck01: PCK at 0.2 and 0.1 in percent.
        ap: OKS AP, 0 to 1.
        seconds: Training time without validation.
        step: Time of a training step in the plain model's; 1 for the plain model.
        step_device: What that was measured on.
        curve: ``epoch:value`` of each validation, with the config's first metric.
        device: What the training ran on.
        commit: Of the project; several if the run went on with another.
        settings: Hash of the config, without the seed and the places of files.
    """

    part: str
    head: str
    method: str
    epochs: int
    seed: int
    pck02: float
    pck01: float
    ap: float
    seconds: float
    step: float
    step_device: str
    curve: str
    device: str
    commit: str
    settings: str

    @property
    def key(self) -> tuple:
        """What makes it this run and no other."""
        return self.part, self.head, self.method, self.epochs, self.seed

    def validations(self) -> dict[int, float]:
        """The validation metric by epoch."""
        pairs = [pair.split(':') for pair in self.curve.split()]
        return {int(epoch): float(value) for epoch, value in pairs}


class Ledger:
    """The rows of a cell.

    Args:
        file: The CSV; it may not exist yet.
    """

    def __init__(self, file: Path):
        self.file = file
        self.rows: dict[tuple, Row] = {}
        self.read()

    def read(self) -> None:
        """Take the file's rows."""
        self.rows = {}
        if self.file.is_file():
            for values in csv.DictReader(io.StringIO(self.file.read_text(encoding='utf-8'))):
                row = Row(**{f.name: _KINDS[f.type](values[f.name]) for f in fields(Row)})
                self.rows[row.key] = row

    def add(self, row: Row) -> None:
        """Keep a run, in the place of an older one of the same key, and write the file.

        Other commands may have added to the file: their rows stay.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.file.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # one writer at a time
            self.read()
            self.rows[row.key] = row
            self.write()
        finally:
            os.close(folder)

    def write(self) -> None:
        """Write the file, whole or not at all."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [f.name for f in fields(Row)], lineterminator='\n')
        writer.writeheader()
        writer.writerows(asdict(self.rows[key]) for key in sorted(self.rows))
        write_whole(self.file, lambda path: Path(path).write_text(text.getvalue(), 'utf-8'))

    def select(self, part: str, head: str, method: str, epochs: int) -> dict[int, Row]:
        """The runs of one kind by seed."""
        wanted = (part, head, method, epochs)
        return {row.seed: row for row in self.rows.values() if row.key[:4] == wanted}

    def settings(self, part: str) -> dict[str, set[str]]:
        """The different settings that runs of one kind had, by method, head and epochs."""
        found: dict[str, set[str]] = {}
        for row in self.rows.values():
            if row.part == part:
                kind = f'{row.method}_{row.head}, {row.epochs} epochs'
                found.setdefault(kind, set()).add(row.settings)
        return found

    def epochs(self, part: str, head: str, method: str) -> list[int]:
        """The lengths of which there are runs, shortest first."""
        return sorted(
            {row.epochs for row in self.rows.values() if row.key[:3] == (part, head, method)}
        )


_KINDS = {'str': str, 'int': int, 'float': float}
