"""The documents beside the code: that they are well formed and agree with it."""

import ast
import contextlib
import functools
import importlib
import io
import pathlib
import pkgutil
import re
import tomllib

import pytest
import yaml

import stata_jax

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "stata_jax" / "kernels" / "README.md"]
PAGES = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES if page.exists()}
COMMAND = re.compile(r"python -m (stata_jax\.\w+)(( +(--\S+|\\\n))*)")


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


def test_the_versions_that_are_tested_are_the_same_everywhere():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    versions = workflow["jobs"]["checks"]["strategy"]["matrix"]["python"]
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert versions == [each.rpartition(" ")[2] for each in classifiers if "Python :: 3" in each]
    (sentence,) = re.findall(r"^Tested with .*$", PAGES["README.md"], re.MULTILINE)
    assert versions == re.findall(r"Python (3\.\d+)", sentence)


def blocks(text, language):
    """The fenced blocks of a page that are of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page):
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL))
    for file, heading in links:
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), (page, file)
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if heading else []
        assert not heading or heading in [re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings]


@pytest.mark.parametrize("page", PAGES)
def test_code_that_is_named_exists(page):
    """Modules, functions and classes by their dotted names, files and folders by their paths."""
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL))
    for name in (span for span in spans if re.fullmatch(r"stata_jax(\.\w+)+", span)):
        assert pkgutil.resolve_name(name) is not None
    folders = r"(stata_jax|configs|docs|examples|launch|tests|\.ci|\.github)/[\w./-]*"
    for path in (span for span in spans if re.fullmatch(folders, span)):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES)
def test_python_that_is_shown_is_python(page):
    for code in blocks(PAGES[page], "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("stata_jax"):
                exec(ast.unparse(node))


@functools.cache
def flags_of(module):
    """What `--help` of a command lists."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), pytest.raises(SystemExit):
        importlib.import_module(module).main(["--help"])
    flags = re.findall(r"^  (--\w+)", shown.getvalue(), re.MULTILINE)
    return {*flags, *(f"--config.{key}" for key in re.findall(r"^  ([a-z_.]+)=", shown.getvalue(), re.MULTILINE))}


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_are_shown_have_these_flags(page):
    for module, arguments, *_ in COMMAND.findall(PAGES[page]):
        if hasattr(importlib.import_module(module), "main"):
            used = {flag.partition("=")[0].rstrip("`,.") for flag in arguments.split() if flag.startswith("--")}
            assert used <= flags_of(module), (module, used - flags_of(module))


def test_each_command_has_a_section():
    commands = {path.stem for path in (ROOT / "stata_jax").glob("*.py") if '__name__ == "__main__"' in path.read_text()}
    headings = re.findall(r"^## (\w+): ", PAGES["docs/commands.md"], re.MULTILINE)
    assert sorted(headings) == sorted(commands)
    assert commands <= {module.removeprefix("stata_jax.") for module, *_ in COMMAND.findall(PAGES["docs/commands.md"])}
