"""A teacher's outputs on disk, so that it need not run again."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Optional, Union

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

from ..core.checks import checked_choice, checked_number, checked_whole
from .compact import DamagedError, decode, encode

STORES = ('float16', 'regions')

LOCK_SECONDS = 60.0

HOOK = 'custom_hooks: TeacherCacheHook'

COLUMNS = {
    'fingerprint': ['name', 'value'],
    'outputs': ['person', 'variant', 'output', 'picture', 'data'],
}

TABLES = (
    'CREATE TABLE fingerprint (name TEXT PRIMARY KEY, value TEXT NOT NULL)',
    """CREATE TABLE outputs (
        person TEXT NOT NULL, variant INTEGER NOT NULL, output TEXT NOT NULL,
        picture INTEGER NOT NULL, data BLOB NOT NULL,
        UNIQUE (person, variant, output))""",
)


class CacheKey(NamedTuple):
    """Which augmented picture an entry is about.

    Attributes:
        person: Name of the person under the settings of the transform ``FixedAugmentations``.
        variant: Number of the augmentation.
        picture: Checksum of the teacher's pixels. An entry of other pixels is never used.
    """

    person: str
    variant: int
    picture: int


def checked_settings(store: str, region_size: int, max_gb: Optional[float]) -> dict:
    """Settings of :class:`TeacherCache`, by name.

    Raises:
        ValueError: One is out of its range.
    """
    checked_choice(store, f'{HOOK}.store', STORES)
    checked_whole(region_size, f'{HOOK}.region_size', least=1, of='pixels')
    checked_number(max_gb, f'{HOOK}.max_gb', above=0, optional=True)
    return dict(store=store, region_size=region_size, max_gb=max_gb)


class TeacherCache:
    """What one teacher put out for augmented pictures, in an SQLite file.

    A batch is written as a whole or not at all, also when the process is killed; several
    processes may read and write. What is given back has always passed through the stored form,
    so training does not depend on whether an entry was there before.

    Args:
        path: The file; made if missing.
        fingerprint: All that the outputs depend on, as texts by name. A file with another
            fingerprint is refused.
        store: ``'float16'``, or ``'regions'`` for keypoint maps (K, H, W): float16 about each
            peak, 0 elsewhere.
        region_size: Height and width of the regions in pixels of the map.
        max_gb: Largest size of the file in GB (10^9 bytes). What has no room is not stored.
        whole: Names of outputs that ``'regions'`` leaves whole: those that are no keypoint maps.

    Raises:
        ValueError: A setting that cannot be used; the file is damaged, foreign, of another
            fingerprint, or cannot be opened.
    """

    def __init__(
        self,
        path: Union[str, Path],
        fingerprint: dict[str, str],
        store: str = 'float16',
        region_size: int = 16,
        max_gb: Optional[float] = None,
        whole: Collection[str] = (),
    ):
        settings = checked_settings(store, region_size, max_gb)
        store, region_size, max_gb = settings.values()
        self.path = Path(path)
        self.region = region_size if store == 'regions' else 0
        self.max_gb = max_gb
        self.whole = frozenset(whole)
        self.writes = True  # until there is no room
        self.warned: set[str] = set()
        self.num_read = self.num_written = self.num_computed = 0
        settings = {'format': '2', 'store': store, 'region_size': str(self.region)}
        self._open({**fingerprint, **settings})

    def close(self) -> None:
        """Close the file; the cache cannot be used any more."""
        self.db.close()

    # ------------------------------------------------------------------ in training

    def outputs(
        self,
        keys: Sequence[Optional[CacheKey]],
        names: Sequence[str],
        run: Callable[[list[int]], list[Tensor]],
        device: torch.device,
    ) -> list[Tensor]:
        """A batch's outputs; the teacher is run for the samples that are missing, and only then.

        Args:
            keys: For each of B samples its key, or None for one that cannot be stored.
            names: Names of the outputs.
            run: Gives the outputs (b, ...) for the samples of these numbers.
            device: Where the result goes.

        Returns:
            For each name a tensor (B, ...), float32.

        Raises:
            ValueError: An entry is damaged or of another picture, or an output cannot be stored.
        """
        if None in keys:
            self._warn('cannot keep all', 'some samples are not from FixedAugmentations')
        found = self.get(keys, names)
        missing = [i for i, entry in enumerate(found) if entry is None]
        if missing:
            encoded = self._encoded(names, run(missing), len(missing))
            self.put([keys[i] for i in missing], encoded)
            for i, blobs in zip(missing, encoded):
                found[i] = {name: decode(blob) for name, blob in blobs.items()}
        self.num_read += len(keys) - len(missing)
        self.num_computed += len(missing)
        for name in names:
            shapes = {entry[name].shape for entry in found}
            if len(shapes) > 1:
                raise self._damaged(f'entries of {name!r} have the shapes {sorted(shapes)}')
        stacks = [np.stack([entry[name] for entry in found]) for name in names]
        return [torch.from_numpy(stack).to(device).float() for stack in stacks]

    def _encoded(
        self, names: Sequence[str], outputs: list[Tensor], count: int
    ) -> list[dict[str, bytes]]:
        encoded = [{} for _ in range(count)]
        for name, output in zip(names, outputs):
            if output.shape[:1] != (count,):
                raise ValueError(
                    f'{HOOK}: {name!r} of the teacher has shape {tuple(output.shape)} for '
                    f'{count} samples; only outputs (B, ...) can be stored'
                )
            try:
                blobs = encode(output, self._region(name))
            except ValueError as error:
                raise ValueError(
                    f'{HOOK}: {name!r} of the teacher cannot be stored: {error}; leave the hook '
                    'out, or distill another output'
                ) from error
            for entry, blob in zip(encoded, blobs):
                entry[name] = blob
        return encoded

    def _region(self, name: str) -> int:
        return 0 if name in self.whole else self.region

    # ------------------------------------------------------------------ the file

    def get(
        self, keys: Sequence[Optional[CacheKey]], names: Sequence[str]
    ) -> list[Optional[dict[str, np.ndarray]]]:
        """Stored outputs by name, float16; None for a sample of which one is not there.

        Raises:
            ValueError: An entry is damaged, or was made of another picture.
        """
        try:
            with self._transaction():
                return [None if key is None else self._entry(key, names) for key in keys]
        except sqlite3.OperationalError as error:
            self._warn('cannot be read', f'{error}; the teacher is run')
            return [None] * len(keys)
        except (sqlite3.DatabaseError, DamagedError) as error:
            raise self._damaged(error) from error

    def _entry(self, key: CacheKey, names: Sequence[str]) -> Optional[dict[str, np.ndarray]]:
        entry = {}
        for name in names:
            row = self.db.execute(
                'SELECT picture, data FROM outputs '
                'WHERE person = ? AND variant = ? AND output = ?',
                (key.person, key.variant, self._label(name)),
            ).fetchone()
            if row is None:
                return None
            if row[0] != key.picture:
                raise ValueError(
                    f'{self.path}: the picture of person {key.person}, variant {key.variant} is '
                    'not the one that was stored: a random step of '
                    'train_dataloader.dataset.pipeline stands outside FixedAugmentations, or '
                    'pictures or libraries (OpenCV) have changed; put all random steps into '
                    'FixedAugmentations.transforms, and delete the file'
                )
            entry[name] = decode(row[1])
        return entry

    def _label(self, name: str) -> str:
        """Under which an output is stored: the same one may be kept whole, and as regions."""
        region = self._region(name)
        return f'{name} regions {region}' if region else name

    def put(self, keys: Sequence[Optional[CacheKey]], entries: Sequence[dict[str, bytes]]) -> None:
        """Store encoded outputs in one transaction; entries that are there already stay.

        Warns, and stores nothing from then on, when there is no room.

        Raises:
            ValueError: The file is damaged.
        """
        rows = [
            (key.person, key.variant, self._label(name), key.picture, blob)
            for key, entry in zip(keys, entries)
            if key is not None
            for name, blob in entry.items()
        ]
        if not self.writes or not rows:
            return
        try:
            with self._transaction('IMMEDIATE'):
                self.db.executemany('INSERT OR IGNORE INTO outputs VALUES (?, ?, ?, ?, ?)', rows)
        except sqlite3.OperationalError as error:
            self.writes = False
            limit = '' if self.max_gb is None else f' (max_gb={self.max_gb:g})'
            self._warn(
                f'cannot be written{limit}',
                f'{error}; nothing more is stored, the teacher is run for what is missing',
            )
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error
        else:
            self.num_written += sum(key is not None for key in keys)

    def _warn(self, problem: str, what: str) -> None:
        if problem not in self.warned:
            self.warned.add(problem)
            print_log(f'{self.path} {problem}: {what}', 'current', logging.WARNING)

    def _damaged(self, error: Union[str, Exception]) -> ValueError:
        return ValueError(
            f'{self.path} is damaged or no teacher cache ({error}): delete it, and it is made anew'
        )

    @contextmanager
    def _transaction(self, kind: str = 'DEFERRED') -> Iterator[None]:
        self.db.execute(f'BEGIN {kind}')
        try:
            yield
            self.db.execute('COMMIT')
        except BaseException:
            if self.db.in_transaction:
                self.db.execute('ROLLBACK')
            raise

    def _open(self, fingerprint: dict[str, str]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # the ordinary journal, not WAL, which needs memory shared on one machine
            self.db = sqlite3.connect(self.path, timeout=LOCK_SECONDS, isolation_level=None)
            self.db.execute('PRAGMA trusted_schema = OFF')  # a file of others may have triggers
            # an entry takes 9 to 100 kB: faster in larger pages than the usual 4096 bytes
            self.db.execute('PRAGMA page_size = 8192')
            if not self._tables():
                with self._transaction('IMMEDIATE'):
                    if not self._tables():  # else another process was first
                        for table in TABLES:
                            self.db.execute(table)
                        self.db.executemany(
                            'INSERT INTO fingerprint VALUES (?, ?)', fingerprint.items()
                        )
            if self._tables() != COLUMNS:
                raise self._damaged('other tables')
            with self._transaction():  # nobody writes meanwhile
                rows = self.db.execute('SELECT name, value FROM fingerprint')
                stored = {str(name): str(value) for name, value in rows}
                pages, size = self._pragma('page_count'), self._pragma('page_size')
                if os.path.getsize(self.path) < pages * size:
                    raise self._damaged('its end is missing')
            if self.max_gb is not None:
                self._pragma(f'max_page_count = {max(int(self.max_gb * 1e9 / size), 1)}')
        except (sqlite3.OperationalError, OSError) as error:
            raise ValueError(
                f'{self.path} cannot be opened: {error}; give {HOOK}.path a folder that can be '
                'written'
            ) from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error
        differences = _differences(stored, fingerprint)
        if differences:
            self.close()
            raise ValueError(
                f'{self.path} was made under other settings: {"; ".join(differences)}; give '
                f'{HOOK}.path another folder, or delete the file'
            )

    def _pragma(self, text: str) -> int:
        return self.db.execute(f'PRAGMA {text}').fetchone()[0]

    def _tables(self) -> dict[str, list[str]]:
        """The names of the columns by that of the table."""
        tables = self.db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        columns = 'SELECT name FROM pragma_table_info(?) ORDER BY cid'
        return {
            name: [column for (column,) in self.db.execute(columns, (name,))] for (name,) in tables
        }


def _differences(stored: dict[str, str], wanted: dict[str, str], shown: int = 5) -> list[str]:
    names = [n for n in sorted({*stored, *wanted}) if stored.get(n) != wanted.get(n)]
    lines = [
        f'{n} is {_short(stored.get(n))} in the file, {_short(wanted.get(n))} now'
        for n in names[:shown]
    ]
    return lines + ([f'and {len(names) - shown} more'] if len(names) > shown else [])


def _short(text: Optional[str]) -> str:
    text = 'missing' if text is None else text
    return text if len(text) <= 60 else f'{text[:57]}...'
