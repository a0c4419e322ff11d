"""Draw mutants of the package at random, of all that cosmic-ray makes.

    python benchmarks/mutants/draw.py --out build/mutants/drawn.json

Needs cosmic-ray (``requirements/mutants.txt``) and nothing of the package.
"""

from __future__ import annotations

import argparse
import ast
import collections
import difflib
import json
import random
from pathlib import Path
from typing import Optional

from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB, use_db
from modules import MODULES

ROOT = Path(__file__).resolve().parents[2]
SAID = {'refusal', 'warn', 'print_log'}  # functions whose arguments are messages


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--count', type=int, default=300)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)

    found = all_mutants(args.out.with_suffix('.sqlite'))
    rng = random.Random(args.seed)
    drawn = []
    for module, number in shares({m: len(x) for m, x in found.items()}, args.count).items():
        drawn += draw(module, found[module], number, rng)
    rng.shuffle(drawn)  # an unfinished run has seen some of every module
    counts = {module: len(specs) for module, specs in found.items()}
    args.out.write_text(json.dumps({'of': counts, 'mutants': drawn}, indent=1) + '\n')
    print(f'{len(drawn)} of {sum(counts.values())} mutants: {args.out}')


def all_mutants(session: Path) -> dict[str, list]:
    """By module, what cosmic-ray would change, without docstrings, types and messages."""
    paths = {str(ROOT / 'mmpose_kd' / f'{module}.py'): module for module in MODULES}
    found = {module: [] for module in MODULES}
    with use_db(str(session), WorkDB.Mode.create) as db:
        init([Path(path) for path in paths], db, {})
        for item in db.work_items:
            (spec,) = item.mutations
            found[paths[str(spec.module_path)]].append(spec)
    for module, specs in found.items():
        skipped = skipped_places((ROOT / 'mmpose_kd' / f'{module}.py').read_text('utf-8'))
        kept = [s for s in specs if not any(a <= tuple(s.start_pos) < b for a, b in skipped)]
        # cosmic-ray has no order that is sure to stay
        found[module] = sorted(kept, key=lambda s: (s.start_pos, s.operator_name, s.occurrence))
    return found


def skipped_places(source: str) -> list[tuple]:
    """From where to where, as (line, column), no mutant is taken."""
    places = []

    def skip(node):
        if node is not None:
            places.append(((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)))

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.arg, ast.AnnAssign)):
            skip(node.annotation)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            skip(node.returns)
        elif isinstance(node, ast.Raise):
            skip(node.exc)
        elif isinstance(node, ast.JoinedStr):
            skip(node)
        elif isinstance(node, ast.Call):
            name = getattr(node.func, 'attr', getattr(node.func, 'id', None))
            if name in SAID:
                for argument in [*node.args, *node.keywords]:
                    skip(argument)
    return places


def shares(counts: dict[str, int], number: int) -> dict[str, int]:
    """How many to draw of each, in proportion: whole parts, the rest by largest remainder."""
    total = sum(counts.values())
    exact = {name: number * count / total for name, count in counts.items()}
    found = {name: int(part) for name, part in exact.items()}
    for name in sorted(exact, key=lambda n: found[n] - exact[n])[: number - sum(found.values())]:
        found[name] += 1
    return found


def draw(module: str, specs: list, number: int, rng: random.Random) -> list[dict]:
    """At random, one at a place before a second at any: most places have many like ones."""
    places = collections.defaultdict(list)
    for spec in specs:
        places[tuple(spec.start_pos), family(spec)].append(spec)
    for same in places.values():
        rng.shuffle(same)
    drawn, left = [], list(places.values())
    while len(drawn) < number and left:
        rng.shuffle(left)
        for same in left:
            found = len(drawn) < number and mutant(module, same.pop())
            drawn += [found] if found else []
        left = [same for same in left if same]
    return drawn


def family(spec) -> str:
    """What an operator replaces: ``ReplaceBinaryOperator_Add_*`` is one family."""
    return '_'.join(spec.operator_name.split('_')[:2])


def mutant(module: str, spec) -> Optional[dict]:
    """What ``run.py`` has to know: the lines before and after, where they stand.

    None if it is no program (the ``**`` of an argument is no power) or the same one.
    """
    source = (ROOT / 'mmpose_kd' / f'{module}.py').read_text('utf-8')
    operator = get_operator(spec.operator_name)(**spec.operator_args)
    changed = mutate_code(source, operator, spec.occurrence)
    try:
        if ast.dump(ast.parse(changed)) == ast.dump(ast.parse(source)):
            return None
    except SyntaxError:
        return None
    before, after = source.splitlines(), changed.splitlines()
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    blocks = [block for block in blocks if block[0] != 'equal']
    (_, start, _, first, _), (*_, end, _, last) = blocks[0], blocks[-1]
    return {
        'module': module,
        'line': start + 1,
        'operator': spec.operator_name.rpartition('/')[2],
        'before': before[start:end],
        'after': after[first:last],
    }


if __name__ == '__main__':
    main()
