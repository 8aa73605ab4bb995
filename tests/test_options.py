"""The table of options, and what follows from it: defaults, checks, what may change at resume, `--help` and a page."""

import json
import pathlib
import subprocess
import sys

import pytest

from stata_jax import config, main
from stata_jax.config import table
from stata_jax.config.option import Resume
from stata_jax.config.options import OPTIONS, keys
from stata_jax.configs import common
from stata_jax.train import conditions, reuse

ROOT = pathlib.Path(__file__).resolve().parents[1]
# By resume: what a run that goes on with another value does, and another use of its weights.
TREATMENT = {
    Resume.FREE: ("goes on", "is the same"),
    Resume.RECORDED: ("says so", "is the same"),
    Resume.FIXED: ("is refused", "is the same"),
    Resume.NETWORK: ("is refused", "is refused"),
}


def another(key):
    """A value of an option that is possible and not its default."""
    rule = OPTIONS[key].rule
    words = rule.possible.removeprefix("must be one of ").split(", ")
    values = [True, False, 0.5, 0.25, 3.0, 16, 1, 2, (0.5, 1.0), (1,), "1111", *words, "other", "json:dumps"]
    kind = tuple if OPTIONS[key].default is None else type(OPTIONS[key].default)
    return next(
        value for value in values if type(value) is kind and rule.is_possible(value) and value != OPTIONS[key].default
    )


@pytest.mark.parametrize("key", OPTIONS)
def test_an_option_is_a_key_of_the_config_with_a_possible_default_and_a_comment(key):
    option = OPTIONS[key]
    assert common.get_config()[key] == option.default
    assert option.rule.is_possible(option.default) and option.rule.possible.startswith("must be ")
    assert option.comment.endswith(".") and "\n" not in option.comment
    assert " " in option.summary and option.summary.count("(") == option.summary.count(")")


def test_the_config_has_no_other_keys_and_is_possible():
    config.check(common.get_config())
    assert sorted(flat(common.get_config().to_dict())) == sorted(OPTIONS)


def flat(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with the defaults that has a checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.json").write_text(config.to_json(common.get_config()))
    (folder / "checkpoints" / "8").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("key", OPTIONS)
def test_a_run_goes_on_with_another_value_as_its_option_says(run, key):
    settings = config.apply_overrides(common.get_config(), {key: another(key)})
    try:
        former = reuse.check_continues(run, settings)
        at_resume = "says so" if former == {key: OPTIONS[key].default} else "goes on"
    except config.ConfigError as error:
        assert f"holds a run with {key}=" in str(error) and "cannot change in a run that has begun" in str(error)
        at_resume = "is refused"
    try:
        reuse.check_network(common.get_config(), settings, where="the run")
        in_use = "is the same"
    except config.ConfigError as error:
        assert str(error).startswith(f"the run has {key}=")
        in_use = "is refused"
    assert (at_resume, in_use) == TREATMENT[OPTIONS[key].resume]


def test_what_is_recorded_is_what_may_change_and_is_said():
    record = {}
    conditions.note(record, common.get_config(), (), devices=1)
    assert set(record["conditions"]) == {*keys(Resume.RECORDED), "devices"}
    assert {key for key in OPTIONS if OPTIONS[key].resume is Resume.RECORDED} >= {"train.epochs", "train.learning_rate"}


def test_help_lists_every_option_with_its_default(capsys):
    with pytest.raises(SystemExit):
        main.main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    for key, option in OPTIONS.items():
        (line,) = (line for line in lines if line.startswith(f"  {key}="))
        assert option.summary.split()[0] in line, line
    assert any(line.startswith("  sparsity.keep_rate=0.2 ") for line in lines)
    assert all(len(line) <= 122 for line in lines)


def test_the_page_of_options_is_up_to_date():
    """`python -m stata_jax.config.table > docs/options.md` writes it."""
    assert (ROOT / "docs" / "options.md").read_text() == table.as_markdown()


def test_every_option_is_in_the_page_with_all_that_is_said_about_it():
    rows = [line for line in table.as_markdown().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(OPTIONS)
    for row, option in zip(rows, OPTIONS.values(), strict=True):
        assert option.comment in row and row.endswith(f"| {option.resume.value} |") and row.count(" | ") == 4


def test_options_are_read_without_jax(tmp_path):
    script = (
        "import json, sys; from stata_jax.configs import common; config = common.get_config(); "
        "from stata_jax.config import table; table.as_markdown(); "
        "print(json.dumps(['jax' in sys.modules, 'numpy' in sys.modules, config.model.dim]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout) == [False, False, 384]
