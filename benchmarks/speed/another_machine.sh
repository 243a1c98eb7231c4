#!/bin/bash
# The speed benchmarks on another machine, side by side on cores of their own:
#     bash benchmarks/speed/another_machine.sh FOLDER [SECONDS]
# From the root of the repository, 16 processors; a GPU where there is one. Rows are written as they come.
set -u
out=${1:?folder for the results}; seconds=${2:-500}; kept=$((seconds + 60))
mkdir -p "$out"
lscpu > "$out/lscpu.txt"
(nvidia-smi || true) > "$out/gpu.txt" 2>&1
export PYTHONPATH=${PYTHONPATH:-.} OMP_NUM_THREADS=1
on() { taskset -c "$1" timeout "$kept" "${@:3}" > "$out/$2.log" 2>&1; }
on 0,1,8,9 cuda python -m benchmarks.speed.cuda --rounds 7 --seconds "$seconds" --csv "$out/cuda.csv" &
on 2 fair1 python -m benchmarks.speed.fair --rounds 7 --seconds "$seconds" --csv "$out/fair-1.csv" &
OMP_NUM_THREADS=2 on 4,6 fair2 python -m benchmarks.speed.fair --threads 2 --rounds 7 --seconds "$seconds" --csv "$out/fair-2.csv" &
on 13 auto1 python -m benchmarks.speed.auto --rounds 7 --seconds "$seconds" --csv "$out/auto.csv" \
    --only linear conv1d attention gru lstm --modes forward train --batches 1 4 64 256 1024 &
on 10,12 there python -m benchmarks.speed.on_gpu --json "$out/on_gpu.json" &
wait
