#!/bin/bash
#SBATCH --job-name=cells
#SBATCH --array=1-16
#SBATCH --cpus-per-task=4
# An array job for Slurm, with a folder that every node sees and the options of `engine generate`; then the merge:
#
#     job=$(sbatch --parsable array.sh /shared/cells --class all --n 10000)
#     sbatch --dependency=afterok:$job --wrap "engine merge-runs /shared/cells"
#
# Where a task failed, `sbatch --array=K array.sh ...` goes on in piece K; then the second line, without its dependency.
set -euo pipefail
pieces=16  # as in --array above
engine generate --out "$1" --shard "$SLURM_ARRAY_TASK_ID/$pieces" --threads "$SLURM_CPUS_PER_TASK" "${@:2}"
