#!/usr/bin/env bash
# A sweep as a Slurm job array, one seed a task:
#
#   sbatch --array=0-4 launch/sweep_slurm.sh --config=configs/cifar100.py --grid=table5 --workdir=/shared/sweep/cifar100
#
# The array's indices are the seeds; everything else is given to the sweep as it is. A seed's cells are trained one
# after another on the task's GPU, so that they have the same machine. Before its time limit, Slurm sends a task SIGTERM:
# its run finishes the step, saves, and the task ends with exit code 75. It goes on where it stopped when the same line
# is submitted again, or by itself where the cluster's slurm.conf has RequeueExit=75. At the end, in the same folder,
# one table of all seeds:
#
#   python -m stata_jax.sweep --config=configs/cifar100.py --grid=table5 --workdir=/shared/sweep/cifar100 --report
#
# Tasks may share the folder: each has its own runs. Each also rewrites the table, of its own seed alone.
#
#SBATCH --job-name=stata_sweep
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@90
#SBATCH --output=sweep_%A_%a.log
set -euo pipefail

if [[ -z "${SLURM_ARRAY_TASK_ID:-}" ]]; then
    echo "error: submit this with sbatch --array=0-4, a task for each seed" >&2
    exit 2
fi

# Slurm hides the GPUs of others, and the sweep stays within the cores that the task may use.
exec python -m stata_jax.sweep --seeds="$SLURM_ARRAY_TASK_ID" "$@"
