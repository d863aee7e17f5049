#!/usr/bin/env bash
# Compare two bundles of the same classes of blood cells on held-out cells: before/, after/ and table.md.
#
#   recipes/evaluation/before_after.sh HELDOUT BEFORE AFTER      (run it in a work folder, which keeps every stage)
#
# HELDOUT has the held-out pictures of Acevedo et al. (2020) per class. BEFORE and AFTER are bundles, and may be the same
# one. Run the script again to resume: it skips finished stages.
#
# Environment variables:
#   BEFORE_PRESET, AFTER_PRESET   presets of the bundles (default: none)
#   N                             pictures per class (default: 150)
set -euo pipefail
[ $# = 3 ] || {
    echo "usage: recipes/evaluation/before_after.sh HELDOUT BEFORE AFTER" >&2
    exit 2
}
heldout=$1
python=${PYTHON:-python}
here=$(cd "$(dirname "$0")" && pwd)
. "$here/stages.sh"

once heldout/sources.jsonl "$python" -m trainer prepare "$heldout" heldout --size 128 --crop 0.7
for side in before after; do
    bundle=$2 preset=${BEFORE_PRESET:-}
    [ $side = after ] && bundle=$3 preset=${AFTER_PRESET:-}
    mkdir -p $side
    for class in "${base[@]}" "${few[@]}"; do
        "$python" -m engine generate --bundle "$bundle" --class $class --n "${N:-150}" --seed 1000 --out "$side-$class" \
            ${preset:+--preset "$preset"}
        for study in score probe morphology; do
            once "$side/$study-$class/record.json" "$python" -m evaluate $study "heldout/$class" "$side-$class/$class" \
                --out "$side/$study-$class"
        done
    done
done
"$python" -m recipes.before_after before after | tee table.md
