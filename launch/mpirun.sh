#!/usr/bin/env bash
# One run on several machines with MPI's launcher, one process a GPU:
#
#   mpirun -n 8 --map-by ppr:4:node launch/mpirun.sh HOST:PORT --config=configs/imagenet.py --workdir=/shared/runs/imagenet
#
# HOST is the machine of the first process, PORT a free port of it. The other flags go on to stata_jax.main. Open MPI,
# MPICH, Intel MPI and PALS say in their environment which process this is; nothing but the launcher of MPI is used.
set -euo pipefail

if (($# < 2)); then
    echo "error: usage: mpirun -n N launch/mpirun.sh HOST:PORT --config=FILE ..." >&2
    exit 2
fi
coordinator="$1"
shift
count="${OMPI_COMM_WORLD_SIZE:-${PMI_SIZE:-${PALS_SIZE:-}}}"
index="${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-${PALS_RANKID:-}}}"
on_node="${OMPI_COMM_WORLD_LOCAL_RANK:-${MPI_LOCALRANKID:-${PALS_LOCAL_RANKID:-}}}"
if [[ -z "$count" || -z "$index" ]]; then
    echo "error: the environment says neither size nor rank: start this with mpirun" >&2
    exit 2
fi
if [[ -n "$on_node" ]]; then
    export JAX_LOCAL_DEVICE_IDS="$on_node" # each process of a node has its own GPU, of those that are visible
fi
exec python -m stata_jax.main --distributed --coordinator="$coordinator" --num_processes="$count" \
    --process_id="$index" "$@"
