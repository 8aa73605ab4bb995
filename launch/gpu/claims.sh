#!/usr/bin/env bash
# Do the claims hold on CIFAR-100? Dense, STATA at keep rate 0.2 and random tokens, the same seed, within a time limit:
#
#   bash launch/gpu/claims.sh DATA OUT SECONDS [--config.KEY=VALUE ...]
#
# DATA holds the archive, which is read into memory; nothing is downloaded. OUT gets the runs and claims.json: top-1 by
# epoch, seconds, memory, card, versions and commit of whatever was trained when the time was over. SEEDS and CELLS may
# name others, such as SEEDS=1,2 CELLS=l1,ssa,tat, two at least; they are trained one after another. The same command
# goes on.
set -euo pipefail
data="$1" out="$2" seconds="$3"
shift 3
export JAX_COMPILATION_CACHE_DIR="$out/compiled"

status=0
timeout --signal=TERM --kill-after=90 "$seconds" python -m stata_jax.sweep --config="${CONFIG:-configs/cifar100.py}" \
    --grid="${CELLS:-dense,stata,random}" --seeds="${SEEDS:-0}" --workdir="$out" --config.data.manual_dir="$data" \
    --config.train.epochs=25 --config.train.warmup_epochs=2 --config.train.cooldown_epochs=0 \
    --config.model.dtype=bfloat16 "$@" || status=$?
python launch/gpu/collect.py "$out" >"$out/claims.json"
[[ $status == 0 || $status == 75 || $status == 124 || $status == 137 ]]
