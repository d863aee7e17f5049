#!/bin/bash
#SBATCH --job-name=cells
#SBATCH --array=1-16
#SBATCH --cpus-per-task=4
# An array job for Slurm. The first argument is a folder that every node can write to; all others are options of
# `engine generate`. A second job then merges the pieces:
#
#     job=$(sbatch --parsable recipes/examples/array.sh /shared/cells --class all --n 10000)
#     sbatch --dependency=afterok:$job --wrap "engine merge-runs /shared/cells"
#
# If task K failed, run `sbatch --array=K recipes/examples/array.sh ...` to resume piece K. Then
# run the second line without --dependency.
set -euo pipefail
[ $# -ge 1 ] || {
    echo "usage: array.sh OUT [OPTION...]" >&2
    exit 2
}
pieces=16  # the last number of --array above
engine generate --out "$1" --shard "$SLURM_ARRAY_TASK_ID/$pieces" --threads "$SLURM_CPUS_PER_TASK" "${@:2}"
