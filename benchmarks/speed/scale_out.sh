#!/bin/bash
# `benchmarks.speed.scale_out` with 1, 2, 4 and 8 processes beside each other, each on a core of its own:
#     bash benchmarks/speed/scale_out.sh FOLDER [SECONDS [ARGUMENT...]]
# From the root of the repository, 16 processors.
set -u
out=${1:?folder for the results}; seconds=${2:-170}; shift; shift
mkdir -p "$out"
export PYTHONPATH=${PYTHONPATH:-.} OMP_NUM_THREADS=1
on() {  # cores, processes, port
    taskset -c "$1" timeout "$seconds" python -m torch.distributed.run --nproc-per-node "$2" --master-port "$3" \
        -m benchmarks.speed.scale_out --wait "$seconds" --verbose --csv "$out/scale-$2.csv" "${@:4}" >> "$out/scale-$2.log" 2>&1
}
on 1 1 29511 "$@" &
on 2,3 2 29512 "$@" &
on 4-7 4 29513 "$@" &
on 8-15 8 29514 "$@" &
wait
