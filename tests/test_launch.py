"""The scripts of launch/: what bash makes of them, and what is collected of runs that a time limit has cut off."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
import yaml

from stata_jax import main

LAUNCH = pathlib.Path(__file__).parents[1] / "launch"
SCRIPTS = sorted([*LAUNCH.rglob("*.sh"), *LAUNCH.rglob("*.sbatch")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_can_be_read(script):
    subprocess.run(["bash", "-n", script], check=True)
    assert script.read_text().startswith("#!/usr/bin/env bash\n# ") and "\nset -euo pipefail\n" in script.read_text()


def test_what_is_there_is_collected(tmp_path):
    for cell, lines in {
        "dense": [{"epoch": 1, "test/top1": 0.5}, {"epoch": 1, "train/images_per_second": 10.0}],
        "stata": [{"epoch": 1, "train/loss": 2.0}],
    }.items():
        run = tmp_path / cell / "seed0"
        run.mkdir(parents=True)
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"epoch": 1, "tes')
    (tmp_path / "dense" / "seed0" / "summary.json").write_text('{"top1": 0.5, "peak_bytes": 3, "name": "x"}')
    command = [sys.executable, LAUNCH / "gpu" / "collect.py", tmp_path]
    collected = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert collected["runs"] == {
        "dense/seed0": {
            "top1_by_epoch": {"1": 0.5},
            "images_per_second": 10.0,
            "top1": 0.5,
            "peak_bytes": 3,
            "finished": True,
        },
        "stata/seed0": {"top1_by_epoch": {}, "finished": False},
    }
    assert collected["card"] and collected["versions"]["jax"]


def ran(script, *arguments, **environment):
    """What a script hands over to the program at its end, which is taken for `python` and for `srun`."""
    folder = pathlib.Path(environment["HOME"])
    for name, words in {
        "python": "",
        "srun": '[[ "$*" == "--kill-on-bad-exit=0 --cpus-per-task=8 python "* ]] || exit 9; shift 3; ',
    }.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{words}printf '%s\\n' \"$@\"\n")
        (folder / name).chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", LAUNCH / script, *arguments],
        env={"PATH": path} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def parsed(words):
    """What the program makes of its command line."""
    assert words[:2] == ["-m", "stata_jax.main"]
    return main.parse(words[2:])


FLAGS = ["--config=digits", "--workdir=somewhere", "--config.train.epochs=3"]


def test_slurm_s_command_line(tmp_path):
    code, words, _ = ran("slurm.sbatch", *FLAGS, HOME=str(tmp_path), SLURM_JOB_ID="1", SLURM_CPUS_PER_TASK="8")
    settings, workdir, which = parsed(words)
    assert code == 0 and (settings.train.epochs, workdir) == (3, "somewhere")
    assert which == {"coordinator": None, "count": None, "index": None}  # which JAX reads from Slurm
    assert ran("slurm.sbatch", *FLAGS, HOME=str(tmp_path))[::2] == (2, "error: submit this with sbatch\n")


@pytest.mark.parametrize("launcher", ["OMPI_COMM_WORLD_{}", "PMI_{}"])
def test_mpi_s_command_line(launcher, tmp_path):
    ranks = {launcher.format("SIZE"): "4", launcher.format("RANK"): "3"}
    code, words, _ = ran("mpirun.sh", "node1:1234", *FLAGS, HOME=str(tmp_path), **ranks)
    assert code == 0 and parsed(words)[2] == {"coordinator": "node1:1234", "count": 4, "index": 3}
    code, _, error = ran("mpirun.sh", "node1:1234", *FLAGS, HOME=str(tmp_path))
    assert code == 2 and "start this with mpirun" in error


def test_the_pods_command_line():
    (jobset,) = yaml.safe_load_all((LAUNCH / "k8s" / "jobset.yaml").read_text())
    (job,) = (each["template"]["spec"] for each in jobset["spec"]["replicatedJobs"])
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    settings, workdir, which = parsed(container["command"][1:])
    assert which is not None and settings.data.source == "cifar100"
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    assert workdir.startswith(mounts["data"]) and settings.data.manual_dir == mounts["data"]
    assert job["parallelism"] == job["completions"] and job["completionMode"] == "Indexed"
    account, role, binding = yaml.safe_load_all((LAUNCH / "k8s" / "service_account.yaml").read_text())
    assert pod["serviceAccountName"] == account["metadata"]["name"] == binding["subjects"][0]["name"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    readable = {resource for rule in role["rules"] for resource in rule["resources"] if "list" in rule["verbs"]}
    assert readable == {"pods", "services", "jobs"}


def test_the_cloud_s_command_line(tmp_path):
    task = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())
    script = re.sub(r"~/stata/bin/python", "printf '%s\\n'", task["run"])
    nodes = {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1"}
    done = subprocess.run(["bash", "-c", script], env=os.environ | nodes, capture_output=True, text=True, check=True)
    settings, workdir, which = parsed(done.stdout.splitlines())
    assert which == {"coordinator": "10.0.0.1:12355", "count": 2, "index": 1}
    (mount,) = task["file_mounts"]
    assert workdir.startswith(mount) and settings.data.manual_dir == mount
    assert shlex.split(task["setup"])
