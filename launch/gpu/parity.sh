#!/usr/bin/env bash
# Is the network the same on this card: the published models' fixtures, then the digits run, within a time limit:
#
#   bash launch/gpu/parity.sh OUT SECONDS [--config.KEY=VALUE ...]
#
# OUT gets parity.xml, the result of each test, and the folder of the run. The extra `test` must be installed. The device
# is JAX's first choice, or that of JAX_PLATFORMS.
set -euo pipefail
out="$1" seconds="$2"
shift 2
end=$((SECONDS + seconds)) status=0
mkdir -p "$out"
export JAX_COMPILATION_CACHE_DIR="$out/compiled" JAX_PLATFORMS="${JAX_PLATFORMS:-}"

timeout --signal=TERM --kill-after=20 "$((seconds / 2 + 1))" python -m pytest -q tests/models/test_parity.py \
    --junitxml="$out/parity.xml" || status=$?
left=$((end - SECONDS))
timeout --signal=TERM --kill-after=60 "$((left > 1 ? left : 1))" python -m stata_jax.main --config=configs/digits.py \
    --workdir="$out/digits/seed0" "$@" || status=$?
python launch/gpu/collect.py "$out" >"$out/parity.json"
exit "$status"
