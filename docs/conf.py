"""Sphinx reads the pages where they lie: links are the same here as on GitHub.

``make docs`` builds them. The source folder is the checkout, so that README.md and the pages of
``benchmarks`` are among them.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mmpose_kd  # noqa: E402

project = 'mmpose-kd'
author = 'The mmpose-kd developers'
copyright = f'2026, {author}'
version = release = mmpose_kd.__version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
root_doc = 'docs/index'
include_patterns = ['README.md', 'docs/**.md', 'benchmarks/**.md']
html_theme = 'furo'
html_title = f'mmpose-kd {release}'

myst_heading_anchors = 4  # as GitHub makes them

autodoc_default_options = {'members': True, 'member-order': 'bysource'}
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
napoleon_use_rtype = False
napoleon_use_ivar = True

# References of docstrings into the package have to be there. Those to other packages are names
# alone: their inventories are elsewhere, and the build needs no network.
nitpicky = True
nitpick_ignore_regex = [('py:.*', r'(?!mmpose_kd\.).*'), ('py:mod', '.*')]

linkcheck_timeout = 30
linkcheck_retries = 2
# publishers that let no program in
linkcheck_ignore = [r'https://doi\.org/.*']


def without_folders(app, docname, source):
    """A link to a folder of the checkout is its text: there is no page of it here."""
    here = Path(app.env.doc2path(docname)).parent

    def shown(link):
        return link[1] if (here / link[2]).is_dir() else link[0]

    source[0] = re.sub(r'\[([^\]]+)\]\(([^)\s#:]+)\)', shown, source[0])


def setup(app):
    app.connect('source-read', without_folders)
