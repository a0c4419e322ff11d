"""The intervals that the methods' pages print are those of their CSVs."""

import csv

import pytest
from scipy.stats import ttest_rel

from ..helpers import ROOT

#: page, CSV, persons, epochs of the plain model, distilled method and its epochs
PUBLISHED = [
    ('ocd', 'ocd_deeppose-res18-w16', 1000, 60, 'ocd', 60),
    ('ocd', 'ocd_deeppose-res18-w16', 1000, 78, 'ocd', 60),
    ('hhd', 'hhd_integral-res18-w16', 1000, 60, 'hhd', 60),
    ('hhd', 'hhd_integral-res18-w16', 1000, 93, 'hhd', 60),
    ('hhd', 'hhd_integral-res18-w16', 1000, 60, 'hhd-released', 60),
    ('hhd', 'hhd_integral-res18-w16', 1000, 96, 'hhd-released', 60),
    ('okdhp', 'okdhp_res18-w16', 500, 40, 'okdhp-unbalanced', 40),
    ('okdhp', 'okdhp_res18-w16', 500, 74, 'okdhp-unbalanced', 40),
    ('okdhp', 'okdhp_res18-w16', 500, 120, 'okdhp-unbalanced', 120),
    ('okdhp', 'okdhp_res18-w16', 500, 224, 'okdhp-unbalanced', 120),
    ('dskd', 'dskd_res18-w16', 500, 120, 'dskd', 120),
    ('dskd', 'dskd_res18-w16', 500, 149, 'dskd', 120),
    ('dskd', 'dskd-bce_res18-w16', 500, 120, 'dskd', 120),
    ('dskd', 'dskd-bce_res18-w16', 500, 147, 'dskd', 120),
    ('dskd', 'dskd-bce_res18-w16', 500, 80, 'dskd', 80),
]


@pytest.mark.parametrize(
    ('page', 'name', 'persons', 'plain_epochs', 'method', 'epochs'), PUBLISHED
)
def test_the_page_prints_the_paired_t_interval_of_its_csv(
    page, name, persons, plain_epochs, method, epochs
):
    with (ROOT / f'docs/results/{name}.csv').open(encoding='utf-8') as file:
        rows = list(csv.DictReader(file))

    def accuracy(config, epochs):
        wanted = (f'{config}_{name.partition("_")[2]}_lspet', str(persons), str(epochs))
        found = [r for r in rows if (r['config'], r['persons'], r['epochs']) == wanted]
        return {int(r['seed']): float(r['PCK@0.2']) for r in found}

    one, two = accuracy('plain', plain_epochs), accuracy(method, epochs)
    seeds = sorted(one.keys() & two.keys())
    gains = [two[s] - one[s] for s in seeds]
    interval = ttest_rel([two[s] for s in seeds], [one[s] for s in seeds]).confidence_interval()
    printed = f'{sum(gains) / len(gains):+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]'
    text = ' '.join((ROOT / f'docs/{page}.md').read_text(encoding='utf-8').split())
    assert printed in text
