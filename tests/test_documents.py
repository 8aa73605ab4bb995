"""The documents beside the code: that they are well formed and agree with it."""

import pathlib
import re

import yaml

import stata_jax

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_the_citation_and_the_changelog_are_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    version, date = re.findall(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert citation["version"] == version == stata_jax.__version__
    assert str(citation["date-released"]) == date


def test_the_paper_is_cited_alike_everywhere():
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]
    readme = (ROOT / "README.md").read_text()
    assert paper["title"] in readme
    assert " and ".join(f"{one['family-names']}, {one['given-names']}" for one in paper["authors"]) in readme
