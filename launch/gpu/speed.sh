#!/usr/bin/env bash
# How fast is a training step, beside PyTorch and without kernels, within a time limit:
#
#   bash launch/gpu/speed.sh OUT SECONDS [FLAGS of stata_jax.benchmark]
#
# OUT gets a folder with benchmark.json for each of three measurements, the most important first. The extra `peer` must
# be installed for the first of them.
set -euo pipefail
out="$1" seconds="$2"
shift 2
end=$((SECONDS + seconds)) measured=0
model=(--model=spikingformer_4_384 --modes=train --config.model.dtype=bfloat16 --batch_size=192 --rounds=25 --in_a_row=10)

measure() {
    local name="$1" left=$((end - SECONDS))
    shift
    if ((left < 30)); then
        echo "no time is left for $name" >&2
        return
    fi
    timeout --signal=TERM --kill-after=20 "$left" python -m stata_jax.benchmark --output="$out/$name" "$@" ||
        echo "$name ended with exit code $?" >&2
    [[ -f "$out/$name/benchmark.json" ]] && measured=$((measured + 1))
    return 0
}

measure peer "${model[@]}" --peer=spikingjelly,spikingjelly_compiled "$@"
measure kernels "${model[@]}" --keep_rates=1 --kernels=auto,plain "$@"
measure imagenet "${model[@]}" --model=spikingformer_8_768 --batch_size=64 "$@"
((measured > 0))
