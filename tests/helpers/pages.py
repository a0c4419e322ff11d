"""The fenced blocks of README and docs: what they are, and the words of their commands."""

import re
import shlex
from typing import NamedTuple, Optional

from . import ROOT

PAGES = [
    ROOT / 'README.md',
    *sorted((ROOT / 'docs').glob('*.md')),
    *sorted((ROOT / 'benchmarks').rglob('*.md')),
]

FENCE = re.compile(
    r'^(?:<!-- not run: (?P<reason>[^\n]*?) -->\n\n?)?'
    r'^```(?P<kind>[^\n`]*)\n(?P<text>.*?)^```$',
    re.DOTALL | re.MULTILINE,
)
#: kinds of blocks that nobody pastes: Sphinx's directives, which `make docs` reads, a citation,
#: and what a command says
SHOWN = {'{eval-rst}', '{toctree}', 'bibtex', 'text'}


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        page: Its file, from the root of the checkout.
        line: Of the opening fence, counted from 1.
        kind: What stands behind the fence: ``'bash'``, ``'python'``, ...
        text: Its lines.
        reason: Why it is not run: of the comment before it, ``<!-- not run: REASON -->``.
    """

    page: str
    line: int
    kind: str
    text: str
    reason: Optional[str]

    @property
    def id(self) -> str:
        return f'{self.page}:{self.line}'

    @property
    def file(self) -> Optional[str]:
        """The file that it is: the name in a comment that is its first line."""
        named = re.match(r'# (\w+\.py)\n', self.text)
        return named[1] if named else None

    @property
    def is_config(self) -> bool:
        """Whether it is a config that nothing else is needed for."""
        return self.kind == 'python' and '_base_ = ' in self.text and self.file is None


def blocks_of(page):
    text = page.read_text()
    name = page.relative_to(ROOT).as_posix()
    return [
        Block(name, text[: m.start('kind')].count('\n') + 1, m['kind'], m['text'], m['reason'])
        for m in FENCE.finditer(text)
    ]


def every_block():
    return [block for page in PAGES for block in blocks_of(page)]


def commands(text):
    """The words of each command of a shell block, without assignments before it.

    Lines that are continued are one, and comments are left out. ``{a,b}`` stands for several
    words.
    """
    found, open_quote = [], ''
    for line in text.replace('\\\n', ' ').splitlines():
        try:
            words = shlex.split(open_quote + line, comments=True)
        except ValueError:  # a quoted text goes on in the next line
            open_quote += f'{line}\n'
            continue
        open_quote = ''
        while words and re.match(r'\w+=', words[0]):
            words.pop(0)
        if words:
            found.append([w for word in words for w in _expanded(word)])
    assert not open_quote, open_quote
    return found


def _expanded(word):
    braces = re.search(r'\{([^{}]*,[^{}]*)\}', word)
    if not braces:
        return [word]
    start, end = word[: braces.start()], word[braces.end() :]
    return [f'{start}{one}{end}' for one in braces[1].split(',')]
