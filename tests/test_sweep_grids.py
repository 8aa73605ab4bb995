"""The grids: every cell is a possible config of every benchmark, and what the cells mean."""

import pathlib
import runpy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stata_jax import config
from stata_jax.tools import sweep_grids

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
DATA = runpy.run_path(str(CONFIGS / "grids.py"))
DIGITS = config.load(CONFIGS / "digits.py")


@pytest.mark.parametrize(
    "name", ["digits.py", "digits_dvs.py", "cifar100.py", "cifar100.py:sdt", "imagenet.py:spikformer"]
)
def test_every_cell_is_possible(name):
    base = config.load(CONFIGS / name)
    for overrides in [*DATA["CELLS"].values(), *(own for _, own in DATA["EVALUATED"].values())]:
        settings = config.apply_overrides(base, overrides)
        config.check(settings)
        read = config.parse_overrides(base, sweep_grids.flags(overrides))
        assert config.apply_overrides(base, read).to_dict() == settings.to_dict()


@pytest.mark.parametrize("name", DATA["GRIDS"])
def test_every_grid_is_found(name):
    grid = sweep_grids.find(name, DIGITS)
    assert grid.name == name and grid.baseline in grid.cells and grid.title
    trained = {cell.name for cell in grid.trained}
    assert {cell.of for cell in grid.cells.values()} - {None} <= trained  # whose weights are evaluated


@pytest.mark.parametrize("variant", ["dense", "baseline"])
def test_cells_are_the_configs_own_variants(variant):
    cell = {"dense": "dense", "baseline": "random"}[variant]
    settings = config.apply_overrides(DIGITS, DATA["CELLS"][cell])
    of_variant = config.load(f"{CONFIGS / 'digits.py'}:{variant}").to_dict()
    assert settings.to_dict() | {"name": of_variant["name"]} == of_variant


def test_parts_add_up():
    """From row to row of Table 5 one thing changes."""
    cells = [config.apply_overrides(DIGITS, DATA["CELLS"][name]) for name in ("at", "tat", "tat_intra", "stata")]
    keys = ("sparsity.timestep_wise", "align.alpha", "align.beta")
    assert [tuple(cell[key] for key in keys) for cell in cells] == [
        (False, 0.0, 0.0),
        (True, 0.0, 0.0),
        (True, 0.01, 0.0),
        (True, 0.01, 0.01),
    ]


def test_training_free_cells():
    grid = sweep_grids.find("training_free", DIGITS)
    assert [cell.name for cell in grid.trained] == ["dense", "stata"]
    cell = grid.cells["dense_l1_0.6"]
    assert (cell.of, cell.overrides) == ("dense", {"sparsity.metric": "l1", "sparsity.keep_rate": 0.6})
    assert grid.cells["dense_ssa"].overrides["sparsity.keep_rate"] == 0.2
    assert grid.cells["stata_random"].of == "stata" and len(grid.cells) == 2 + 20 + 5


def test_the_same_config_is_not_trained_twice(capsys):
    grid = sweep_grids.find("choices", DIGITS)
    assert "slots_stable" not in grid.cells and "slots_sorted" in grid.cells
    assert capsys.readouterr().err == "slots_stable is stata with this config: left out\n"
    assert "slots_stable" in sweep_grids.find("choices", config.load(CONFIGS / "cifar100.py")).cells


def test_a_grid_of_ones_own():
    grid = sweep_grids.find("sparsity.keep_rate=0.4, 0.2", DIGITS)
    key = "sparsity.keep_rate"
    assert (grid.name, grid.title, grid.baseline, grid.over) == (f"{key}=0.4,0.2", key, f"{key}=0.4", key)
    assert [cell.overrides for cell in grid.trained] == [{"sparsity.keep_rate": 0.4}, {"sparsity.keep_rate": 0.2}]
    grid = sweep_grids.find("sparsity.prune_at=0;0,1", DIGITS, baseline="sparsity.prune_at=0,1")
    assert [cell.overrides["sparsity.prune_at"] for cell in grid.trained] == [(0,), (0, 1)]
    assert (grid.baseline, grid.over) == ("sparsity.prune_at=0,1", None)
    assert sweep_grids.find("sparsity.slots=sorted,stable", DIGITS).over is None
    assert sweep_grids.find("align.intra_time=true,false", DIGITS).over is None
    grid = sweep_grids.find("data.data_dir=a/b", DIGITS)  # no name is a path
    assert (grid.name, list(grid.cells), grid.baseline) == ("data.data_dir=a_b", ["data.data_dir=a_b"], *grid.cells)
    assert grid.trained[0].overrides == {"data.data_dir": "a/b"}


PRUNE_AT = "sparsity.prune_at"


@pytest.mark.parametrize(
    ("values", "tuples", "names"),
    [
        ("(0,),(0,1)", [(0,), (0, 1)], ["0", "0,1"]),
        ("(0),(0, 1)", [(0,), (0, 1)], ["0", "0,1"]),
        ("[0],[0,1]", [(0,), (0, 1)], ["0", "0,1"]),
        ("(0,);(0,1)", [(0,), (0, 1)], ["0", "0,1"]),
        ("0;0,1", [(0,), (0, 1)], ["0", "0,1"]),
        ("0,1", [(0,), (1,)], ["0", "1"]),
        ("(0,),(1,)", [(0,), (1,)], ["0", "1"]),
        ("(0,1)", [(0, 1)], ["0,1"]),
        ("(1,),None", [(1,), None], ["1", "None"]),
        ("(), (1,)", [(), (1,)], ["()", "1"]),
    ],
)
def test_grids_over_tuples(values, tuples, names):
    """Ways to write a cell; the same tuple has the same name in all of them."""
    grid = sweep_grids.find(f"{PRUNE_AT}={values}", DIGITS)
    assert [cell.overrides for cell in grid.trained] == [{PRUNE_AT: value} for value in tuples]
    assert list(grid.cells) == [f"{PRUNE_AT}={name}" for name in names]
    assert (grid.title, grid.baseline, grid.over) == (PRUNE_AT, f"{PRUNE_AT}={names[0]}", None)


def test_a_baseline_is_named_as_it_was_typed():
    for text in ("(0,1)", "(0, 1)", "0,1"):
        grid = sweep_grids.find(f"{PRUNE_AT}=(0,),(0,1)", DIGITS, baseline=f"{PRUNE_AT}={text}")
        assert grid.baseline == f"{PRUNE_AT}=0,1"


def test_cells_of_tuples_of_reals():
    grid = sweep_grids.find("data.mean=(0.5,),(0.25,)", config.apply_overrides(DIGITS, {"data.std": (0.5,)}))
    assert [cell.overrides["data.mean"] for cell in grid.trained] == [(0.5,), (0.25,)]


def test_names_are_possible_on_all_systems(tmp_path):
    values = r'C:\Users\me, a|b?*"<>, .., ~/data., (1),' + "x" * 300 + "," + "ä" * 300
    grid = sweep_grids.find(f"data.data_dir={values}", DIGITS)
    assert len(grid.cells) == 7
    assert grid.trained[0].name == "data.data_dir=C__Users_me"
    assert grid.trained[2].name == "data.data_dir=._" and grid.trained[4].name == "data.data_dir=(1)"
    for name in [*grid.cells, f"figure_{grid.name}_coverage.png"]:
        assert not set(name) & set('<>:"/\\|?*') and name[-1] not in ". "
        (tmp_path / name).mkdir()


def test_cells_that_would_share_a_folder_are_refused():
    with pytest.raises(config.ConfigError, match=r"'a/b' and of 'a_b' would share the folder data\.data_dir=a_b"):
        sweep_grids.find("data.data_dir=a/b,a_b", DIGITS)
    with pytest.raises(config.ConfigError, match="'a' and of 'A' would share"):
        sweep_grids.find("data.data_dir=a,A", DIGITS)
    assert len(sweep_grids.find("align.intra_time=true,True,false", DIGITS).cells) == 2  # no other values


@given(
    st.sampled_from(["sparsity.prune_at", "sparsity.keep_rate", "data.mean", "data.data_dir", "train.epochs", "", "x"]),
    st.text(st.sampled_from(list("01.,;()[]{}:'-e _/")) | st.characters(), max_size=12),
)
def test_any_grid_has_cells_or_is_one_sentence(key, values):
    try:
        grid = sweep_grids.find(f"{key}={values}", DIGITS)
    except config.ConfigError as error:
        assert str(error)
        return
    assert grid.cells and grid.baseline in grid.cells
    assert len({name.casefold() for name in grid.cells}) == len(grid.cells)
    for name in (grid.name, *grid.cells):
        assert pathlib.PurePosixPath(name).name == pathlib.PureWindowsPath(name).name == name
        assert "\0" not in name and len(name.encode()) <= 150


def test_a_baseline_that_is_left_out_stays_the_baseline():
    grid = sweep_grids.find("metrics", config.apply_overrides(DIGITS, {"align.alpha": 0.0, "align.beta": 0.0}))
    assert "stata" not in grid.cells and grid.baseline == "tat"


@pytest.mark.parametrize(
    ("value", "text"),
    [((), "()"), ((2,), "2"), ((0, 3), "0,3"), (True, "true"), (None, "None"), (0.25, "0.25"), ("norm", "norm")],
)
def test_flags_are_what_a_user_types(value, text):
    assert sweep_grids.flags({"a.b": value}) == [f"--config.a.b={text}"]


@pytest.mark.parametrize(
    ("text", "variant", "message"),
    [
        ("table9", "", "--grid is 'table9', but it must be one of table1, table2"),
        ("keep_rate=1", "", "no key keep_rate: did you mean sparsity.keep_rate"),
        ("sparsity.keep_rate=0.2,2", "", "sparsity.keep_rate is 2.0"),
        (
            "sparsity.prune_at=(0,),(0,1",
            "",
            "sparsity.prune_at is '(0', but it must be numbers such as (2, 5), or None",
        ),
        ("sparsity.prune_at=(0,)),(", "", "sparsity.prune_at is"),
        ("sparsity.prune_at={[]:1}", "", "sparsity.prune_at is '{[]:1}', but it must be numbers"),
        ("sparsity.prune_at=" + "(" * 5000, "", "but it must be numbers"),
        ("sparsity.prune_at=" + "(" * 5000 + ")" * 5000, "", "but it must be numbers"),
        ("sparsity.prune_at=(0,),(9,)", "", "sparsity.prune_at"),
        ("sparsity.keep_rate=", "", "sparsity.keep_rate is '', but it must be a number"),
        ("sparsity.keep_rate=a", "", "sparsity.keep_rate is 'a', but it must be a number"),
        ("seed=1,2", "", "--seeds names them"),
        ("table1", ":dense", "sparsity.anchor is False, but the cells of table1 start from the variant stata"),
        ("table1", ":shared", "sparsity.timestep_wise is False"),
    ],
)
def test_mistakes(text, variant, message):
    with pytest.raises(config.ConfigError) as raised:
        sweep_grids.find(text, config.load(f"{CONFIGS / 'digits.py'}{variant}"))
    assert message in str(raised.value)


def test_a_baseline_must_be_in_the_grid():
    with pytest.raises(config.ConfigError, match="--baseline is 'tat', but it must be one of dense, random"):
        sweep_grids.find("table1", DIGITS, baseline="tat")


def test_some_cells():
    grid = sweep_grids.find("dense,stata,dense_l1", DIGITS)
    assert (grid.name, grid.baseline, list(grid.cells)) == (
        "dense-stata-dense_l1",
        "dense",
        ["dense", "stata", "dense_l1"],
    )
    assert [cell.name for cell in grid.trained] == ["dense", "stata"]
    assert sweep_grids.find("dense,stata", DIGITS, baseline="stata").baseline == "stata"
    with pytest.raises(config.ConfigError, match="--grid names dense_l1, which needs dense beside it"):
        sweep_grids.find("dense_l1,stata", DIGITS)
    for text in ("dense", "dense,other", "dense,"):
        with pytest.raises(
            config.ConfigError, match=f"--grid is '{text}', but it must be one of table1, .*dense,stata"
        ):
            sweep_grids.find(text, DIGITS)
