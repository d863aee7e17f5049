#!/usr/bin/env bash
# Draw a sheet of 64 synthetic cells for each class of the embedded bundle: OUT/sheets/<class>.jpg.
#
#   recipes/evaluation/sheets.sh OUT [CLASS...]
#
# The script needs only the embedded bundle. The cells have consecutive seeds, without any selection. The sheet of a
# phantom class also shows, on the left, phantoms that no training has seen.
set -euo pipefail
[ $# -ge 1 ] || {
    echo "usage: recipes/evaluation/sheets.sh OUT [CLASS...]" >&2
    exit 2
}
out=$1
python=${PYTHON:-python}
. "$(dirname "$0")/stages.sh"

classes=("${@:2}")
[ ${#classes[@]} -gt 0 ] || mapfile -t classes < <("$python" -m engine info cells --json |
    "$python" -c 'import json, sys; print(*json.load(sys.stdin)["classes"], sep="\n")')
mkdir -p "$out"
for class in "${classes[@]}"; do
    "$python" -m engine generate --class "$class" --n 64 --seed 1000 --out "$out/synthetic-$class"
    unseen=()
    if [[ $class == cyt_* ]]; then
        once "$out/phantoms-$class/phantom.json" \
            "$python" -m trainer phantom "$out/phantoms-$class" --class "$class" --n 64 --seed 50000
        once "$out/unseen-$class/sources.jsonl" \
            "$python" -m trainer prepare "$out/phantoms-$class/pictures" "$out/unseen-$class" --size 128
        unseen=("$out/unseen-$class/$class")
    fi
    once "$out/sheets/$class.jpg" "$python" -m recipes.sheet "$out/sheets/$class.jpg" "$out/synthetic-$class/$class" \
        "${unseen[@]}"
done
echo "The sheets are in $out/sheets."
