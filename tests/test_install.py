"""What an installed copy brings: one package, with the configs in it."""

import ast
import inspect
import os
import pathlib
import shutil
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The tree that setuptools would install, made from a copy of the sources, without any network."""
    tmp = tmp_path_factory.mktemp("install")
    for name in ("stata_jax", "configs"):
        shutil.copytree(ROOT / name, tmp / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp / "source")
    command = [sys.executable, "-c", "import setuptools; setuptools.setup()", "-q", "build", "--build-lib", tmp / "lib"]
    done = subprocess.run(command, cwd=tmp / "source", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tmp / "lib"


def run_in(installed, folder, *arguments):
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_every_package_is_listed():
    """The list in pyproject.toml has all folders with Python files."""
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "stata_jax").rglob("*.py")}
    packages = {".".join(folder.parts) for folder in folders} | {"stata_jax.configs.shipped"}
    assert sorted(PYPROJECT["tool"]["setuptools"]["packages"]) == sorted(packages)


def test_the_package_of_configs_names_all_of_them():
    """To programs that import them, and to type checkers, which do not look into the folder."""
    from stata_jax import configs

    names = {path.stem for path in (ROOT / "configs").glob("*.py")}
    (block,) = (node for node in ast.walk(ast.parse(inspect.getsource(configs))) if isinstance(node, ast.If))
    (imports,) = block.body
    assert isinstance(imports, ast.ImportFrom) and {each.name for each in imports.names} == names


def test_nothing_but_stata_jax_is_importable(installed):
    assert [path.name for path in installed.iterdir()] == ["stata_jax"]


def test_no_file_is_left_out(installed):
    have = {path.relative_to(installed / "stata_jax") for path in installed.rglob("*") if path.is_file()}
    code = {path.relative_to(ROOT / "stata_jax") for path in (ROOT / "stata_jax").rglob("*.py")}
    data = {path.relative_to(ROOT / "stata_jax") for path in (ROOT / "stata_jax").rglob("*.csv")}
    shipped = {pathlib.Path("configs", "shipped", path.name) for path in (ROOT / "configs").glob("*.py")}
    assert have == code | data | shipped


def test_configs_and_grids_are_found_from_an_empty_folder(installed, tmp_path):
    """Beside a package `configs` of another project, in the folder and among the installed packages."""
    for folder in (tmp_path, installed.parent / "others"):
        (folder / "configs").mkdir(parents=True)
        (folder / "configs" / "__init__.py").write_text("raise SystemExit('of another project')\n")
    (tmp_path / "mine.py").write_text("from stata_jax.configs import digits\nget_config = digits.get_config\n")
    script = (
        "import sys, stata_jax; from stata_jax import config; from stata_jax.tools import sweep_grids; "
        "from stata_jax.configs import cifar10; "
        "print(stata_jax.__file__, config.load('cifar100:sdt-dense').name, config.load('mine.py:l1').name, "
        "cifar10.get_config().name, *sweep_grids.find('main', config.load('digits')).cells, sep='\\n')"
    )
    done = run_in(
        installed, tmp_path, "-c", f"import sys; sys.path.append({str(installed.parent / 'others')!r}); {script}"
    )
    assert (done.returncode, done.stderr) == (0, "")
    own = str(installed / "stata_jax" / "__init__.py")
    assert done.stdout.split() == [own, "cifar100_sdt_dense", "digits_l1", "cifar10", "dense", "random", "stata"]


def test_the_program_finds_them_too(installed, tmp_path):
    done = run_in(installed, tmp_path, "-m", "stata_jax.main", "--config=digits:l1", "--config.model.heads=3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: model.heads is 3, but it must divide model.dim, 64")
    done = run_in(installed, tmp_path, "-m", "stata_jax.main", "--config=configs/cifar100.py")
    assert done.returncode == 2 and "(--config=cifar100 is the shipped one)" in done.stderr
    assert not list(tmp_path.iterdir())
