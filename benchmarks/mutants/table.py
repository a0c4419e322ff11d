"""Write the results of both runs into one file, and print their counts by group.

python benchmarks/mutants/table.py build/mutants/*.csv --out docs/results/mutants.csv
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from pathlib import Path

EQUIVALENT = Path(__file__).with_name('equivalent.json')
OUTCOMES = ('killed', 'timeout', 'equivalent', 'survived')
COLUMNS = (
    'drawn',
    'group',
    'module',
    'line',
    'operator',
    'before',
    'after',
    'outcome',
    'by',
    'why',
)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('results', type=Path, nargs='+')
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    why = {
        (e['module'], e['operator'], e['after']): e['why']
        for e in json.loads(EQUIVALENT.read_text())
    }
    rows = []
    for path in args.results:
        with open(path, newline='') as file:
            for row in csv.DictReader(file):
                row['drawn'] = 'by hand' if path.stem == 'by_hand' else 'at random'
                key = tuple(row[k] for k in ('module', 'operator', 'after'))
                row['why'] = why.get(key, '') if row['outcome'] == 'equivalent' else ''
                rows.append(row)
    rows.sort(key=lambda r: (r['drawn'], r['group'], r['module'], int(r['line'])))
    with open(args.out, 'w', newline='') as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction='ignore', lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
    for drawn in ('at random', 'by hand'):
        chosen = [row for row in rows if row['drawn'] == drawn]
        print(
            f'\n| {drawn} | mutants | {" | ".join(OUTCOMES)} |\n|---|---|{"---|" * len(OUTCOMES)}'
        )
        for group in [*dict.fromkeys(row['group'] for row in chosen), 'together']:
            one = [row for row in chosen if group in (row['group'], 'together')]
            counts = Counter(row['outcome'] for row in one)
            print(f'| {group} | {len(one)} | {" | ".join(str(counts[o]) for o in OUTCOMES)} |')


if __name__ == '__main__':
    main()
