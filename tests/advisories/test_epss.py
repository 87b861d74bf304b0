"""EPSS tables: what is read of them, and what is refused."""

import pytest

from customhouse.advisories.epss import InvalidScores, parse

HEAD = b"#model_version:v2026.06.15,score_date:2026-09-29T00:00:00+0000\ncve,epss,percentile\n"


def test_a_table_gives_scores_its_model_and_its_day() -> None:
    found = parse(HEAD + b"CVE-2021-44228,0.94358,0.99958\r\nCVE-1999-0001,1.0e-05,0.5\n\n")
    assert found.scores == (("CVE-1999-0001", 0.00001, 0.5), ("CVE-2021-44228", 0.94358, 0.99958))
    assert found.version == "v2026.06.15 of 2026-09-29"


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"cve,epss,percentile\nCVE-2021-44228,0.9,0.9\n", HEAD, HEAD + b"CVE-2021-44228,1.5,0.9\n",
        HEAD + b"CVE-2021-44228,nan,0.9\n", HEAD + b"CVE-2021-44228,0.5\n", HEAD + b"x,0.5,0.5\n",
        HEAD.replace(b"2026-09-29", b"2026-13-29") + b"CVE-2021-44228,0.5,0.9\n",
    ],
)  # fmt: skip
def test_a_table_that_is_broken_anywhere_is_refused_whole(raw: bytes) -> None:
    with pytest.raises(InvalidScores):
        parse(raw)
