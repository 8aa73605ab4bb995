"""Which config file a text names, and whose packages its imports find."""

import pathlib
import subprocess
import sys

import pytest

from stata_jax import config, main
from stata_jax.config import files
from stata_jax.configs import FOLDER

MINE = """
from stata_jax.configs import common

def get_config(variant="sparse"):
    config = common.get_config()
    config.name = f"mine_{variant}"
    return config
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, in which the test runs."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def error_of(text):
    with pytest.raises(config.ConfigError) as caught:
        config.load(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_shipped_config_is_found_from_anywhere(here):
    assert config.load("cifar100").to_dict() == config.load(FOLDER / "cifar100.py").to_dict()
    assert config.load("cifar100:sdt-dense").name == "cifar100_sdt_dense"
    for path in FOLDER.glob("*.py"):
        if path.stem not in ("grids", "variants"):  # which are no configs but read by them
            config.check(config.load(path.stem))


def test_a_file_that_is_there_comes_first(here):
    (here / "configs").mkdir()
    (here / "configs" / "cifar100.py").write_text(MINE)
    (here / "cifar100").write_text(MINE)
    assert config.load("configs/cifar100.py:a").name == "mine_a"
    assert config.load("cifar100:b").name == "mine_b"
    (here / "cifar100").unlink()
    assert config.load("cifar100").name == "cifar100"
    (here / "cifar100").mkdir()  # a folder is no config
    assert config.load("cifar100").name == "cifar100"


@pytest.mark.parametrize(
    "text", ["configs/cifar100.py", "configs/cifar100.py:sdt", "cifar100.py", r"configs\cifar100.py"]
)
def test_the_shipped_config_that_was_meant_is_named(here, text):
    file = text.removesuffix(":sdt")
    assert error_of(text).endswith(
        f"{file} cannot be read: No such file or directory (--config=cifar100 is the shipped one)"
    )


def test_shipped_configs_are_listed_for_an_unknown_name(here):
    error = error_of("cifar1000")
    assert "(the shipped configs are cifar10, cifar100, " in error and "grids" not in error
    assert error_of("grids").endswith("grids.py does not define get_config()")


DRIVES = [r"C:\Users\me\my.py", "C:/Users/me/my.py", r"d:\my config", "C:my.py"]


@pytest.mark.parametrize("path", DRIVES)
def test_a_drive_letter_is_no_file_with_a_variant(here, path):
    """Also where a file of the letter's name happens to be."""
    (here / "C").write_text("raise SystemExit('the wrong file')")
    assert f"the config file {path} cannot be read" in error_of(path)
    assert f"the config file {path} cannot be read" in error_of(f"{path}:dense")


@pytest.mark.parametrize("path", [path for path in DRIVES if "/" not in path])
def test_a_variant_after_a_drive_letter(here, path):
    (here / path).write_text(MINE)  # on Linux a file may be called so
    assert config.load(path).name == "mine_sparse"
    assert config.load(f"{path}:dense").name == "mine_dense"


def test_other_colons(here):
    (here / "a:b.py").write_text(MINE)
    assert files.locate("a:b.py:x:y") == (pathlib.Path("a:b.py"), "x:y")  # the longest file that is there
    assert config.load("a:b.py:x:y").name == "mine_x:y"
    assert config.load("digits:").name == "digits"
    assert "the config file no:such/file.py cannot be read" in error_of("no:such/file.py")
    assert "the config file no/such.py cannot be read" in error_of("no/such.py:dense")
    assert "cannot be read" in error_of("x" * 5000)


def test_the_command_line_says_so_in_one_line(here, capsys):
    assert main.main([r"--config=C:\Users\me\my.py:dense"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith(r"error: the config file C:\Users\me\my.py cannot be read: ")


def test_another_projects_configs_hide_nothing(here):
    """A package `configs` in the working folder, which comes first on the path of `python -m`."""
    (here / "configs").mkdir()
    (here / "configs" / "__init__.py").write_text("raise SystemExit('of another project')\n")
    (here / "configs" / "common.py").write_text("raise SystemExit('of another project')\n")
    elsewhere = here.parent / "elsewhere" / "deep"
    elsewhere.mkdir(parents=True)
    (elsewhere / "new.py").write_text(MINE)
    (elsewhere / "old.py").write_text(MINE.replace("stata_jax.configs", "configs"))
    for text in ("digits", elsewhere / "new.py", elsewhere / "old.py"):
        script = f"from stata_jax import config; print(config.load({str(text)!r}).name)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), text
        assert done.stdout.startswith("digits" if text == "digits" else "mine")


def test_a_project_with_a_package_of_its_own_builds_on_both(here):
    (here / "configs").mkdir()
    (here / "configs" / "__init__.py").write_text("KEEP_RATE = 0.7\n")
    (here / "configs" / "helper.py").write_text("DEPTH = 3\n")
    (here / "configs" / "mine.py").write_text(
        MINE.replace("common\n", "common\nfrom configs import KEEP_RATE, digits, helper\n", 1).replace(
            "    return", "    config.sparsity.keep_rate, config.model.depth = KEEP_RATE, helper.DEPTH\n    return"
        )
    )
    before = sys.modules.get("configs")  # what other tests may have imported
    loaded = config.load("configs/mine.py")
    assert (loaded.sparsity.keep_rate, loaded.model.depth) == (0.7, 3)
    assert sys.modules.get("configs") is before


def test_imports_of_a_config_are_of_the_files_as_they_are_now(here):
    """And nothing of it is left behind."""
    from stata_jax import configs
    from stata_jax.configs import common

    before, finders, path = dict(sys.modules), list(sys.meta_path), list(sys.path)
    (here / "mine.py").write_text(MINE + "\nfrom stata_jax.configs import common as again\nFRESH = again\n")
    config.load("mine.py")
    assert (sys.meta_path, sys.path) == (finders, path)
    assert {name for name in sys.modules if "configs" in name} == {name for name in before if "configs" in name}
    import stata_jax

    assert sys.modules["stata_jax.configs.common"] is common and stata_jax.configs is configs
