"""The command line: what is wrong is one line on stderr and exit code 2, before JAX is imported."""

import os
import pathlib
import subprocess
import sys
import types

import pytest
from ml_collections import ConfigDict

from stata_jax import cli, config, main

ROOT = pathlib.Path(__file__).resolve().parents[1]
COMMON = ROOT / "configs" / "common.py"
DENSE = """
from stata_jax.configs import common

def get_config(variant):
    config = common.get_config()
    config.name = "mine"
    config.sparsity.keep_rate = {"dense": 1.0}[variant]
    return config
"""


def test_split_overrides():
    argv = ["--config=x.py", "--config.a.b=1", "--config.c", "-2", "--workdir", "w", "--config.d=--e"]
    others, overrides = cli.split_overrides(argv)
    assert others == ["--config=x.py", "--workdir", "w"]
    assert overrides == ["--config.a.b=1", "--config.c=-2", "--config.d=--e"]


@pytest.fixture
def trained(monkeypatch):
    """Stands in for stata_jax.train and records what it is called with."""
    calls: list[tuple[ConfigDict, pathlib.Path]] = []
    module = types.ModuleType("stata_jax.train")
    module.train = lambda settings, workdir: calls.append((settings, workdir))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stata_jax.train", module)
    monkeypatch.setattr("stata_jax.train", module, raising=False)
    return calls


def test_main_trains(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(DENSE)
    assert main.main(["--config=mine.py:dense", "--config.model.depth", "8"]) == 0
    assert main.main(["--config", str(COMMON), "--workdir=here", "--config.sparsity.prune_at=1,2"]) == 0
    (first, default), (second, given_one) = trained
    assert (first.sparsity.keep_rate, first.model.depth, default) == (1.0, 8, tmp_path / "runs" / "mine")
    assert (second.sparsity.prune_at, given_one) == ((1, 2), tmp_path / "here")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "--config is missing"),
        (["--config"], "--config: expected one argument"),
        (["--confg=x.py"], "unknown argument --confg=x.py: did you mean --config?"),
        (["--config=COMMON", "--wrkdir", "x"], "unknown argument --wrkdir: did you mean --workdir?"),
        (["--config=COMMON", "stray"], "unknown argument stray"),
        (["--config=COMMON", "--config.model.depth"], "--config.model.depth needs a value"),
        (["--config=COMMON", "--config.model.depth", "--workdir=x"], "--config.model.depth needs a value"),
        (["--config=no.py"], "no.py cannot be read"),
        (["--config=COMMON:dense"], "has no variants"),
        (["--config=COMMON", "--config.sparsity.keeprate=0.4"], "no key sparsity.keeprate: did you mean"),
        (["--config=COMMON", "--config.model.depth=deep"], "model.depth is 'deep', but it must be a whole number"),
        (["--config=COMMON", "--config.sparsity.keep_rate=0"], "sparsity.keep_rate is 0.0, but it must be above 0"),
        (["--config=COMMON", "--config.sparsity.keep_rate=1.2"], "sparsity.keep_rate is 1.2, but it must be above 0"),
        (["--config=COMMON", f"--workdir={__file__}/run"], "cannot be written"),
    ],
)
def test_main_says_what_is_wrong(trained, tmp_path, monkeypatch, capsys, argv, said):
    monkeypatch.chdir(tmp_path)
    assert main.main([argument.replace("COMMON", str(COMMON)) for argument in argv]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and said in err
    assert not trained and not list(tmp_path.iterdir())


def test_main_prints_errors_of_the_training_too(trained, tmp_path, monkeypatch, capsys):
    def train(settings, workdir):
        raise config.ConfigError("the run folder\nholds another config")

    monkeypatch.setattr(sys.modules["stata_jax.train"], "train", train)
    assert main.main([f"--config={COMMON}", f"--workdir={tmp_path}"]) == 2
    assert capsys.readouterr().err == "error: the run folder holds another config\n"


def test_main_after_an_interrupt(trained, tmp_path, monkeypatch, capsys):
    def train(settings, workdir):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["stata_jax.train"], "train", train)
    assert main.main([f"--config={COMMON}", f"--workdir={tmp_path}"]) == 130
    err = capsys.readouterr().err
    assert "the same command resumes" in err and err.count("\n") == 1


def test_main_lets_bugs_pass(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["stata_jax.train"], "train", lambda settings, workdir: [][0])
    with pytest.raises(IndexError):
        main.main([f"--config={COMMON}", f"--workdir={tmp_path}"])


def test_main_help(capsys):
    with pytest.raises(SystemExit) as caught:
        main.main(["--help"])
    assert caught.value.code == 0 and "--config.KEY=VALUE" in capsys.readouterr().out


def test_the_program_fails_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "stata_jax.main", f"--config={COMMON}", f"--workdir={tmp_path / 'file' / 'run'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: the workdir ") and done.stderr.count("\n") == 1


def test_the_program_fails_before_it_imports_jax(tmp_path):
    script = (
        "import sys; from stata_jax import main; code = main.main(sys.argv[1:]); "
        "print('jax' in sys.modules, 'numpy' in sys.modules); sys.exit(code)"
    )
    # From another folder, with the package on the path alone.
    command = [sys.executable, "-c", script, f"--config={COMMON}", "--config.sparsity.keep_rate=1.2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "False False\n")
    assert done.stderr == (
        "error: sparsity.keep_rate is 1.2, but it must be above 0 and at most 1 (1 keeps all tokens)\n"
    )
