#!/usr/bin/env bash
# Measure what the hypernetworks do: FD-cyto and the judge's word with a class's own prompt and signal leak, without its
# hypernetwork, and with another class's.
#
#   recipes/evaluation/hypernetworks.sh RECIPE      (run it in the work folder of cells.sh, after it)
#
# RECIPE is the work folder of `make bundle`. The records are records/score-alone-<class>, records/score-other-<class> and
# records/judge-hypernetworks. Run the script again to resume: it skips finished stages.
set -euo pipefail
[ $# = 1 ] || {
    echo "usage: recipes/evaluation/hypernetworks.sh RECIPE" >&2
    exit 2
}
recipe=$1
python=${PYTHON:-python}
. "$(cd "$(dirname "$0")" && pwd)/stages.sh"

for class in "${few[@]}" "${phantom[@]}"; do
    list=("${few[@]}")
    [[ $class == cyt_* ]] && list=("${phantom[@]}")
    other=$(after "$class" "${list[@]}")
    prompt=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["prompt"])' "$recipe/merged/$class/class.json")
    multiplier=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["hypernetworks"][sys.argv[2]]["multiplier"])' \
        "$recipe/cells/record.json" "$other")
    once "merged-alone/$class/class.json" "$python" -m trainer merge "$recipe/hypernetworks/$class.safetensors" \
        --multiplier 0 --signal-leak "$recipe/prepared-$class/$class" --base "$recipe/base" --out "merged-alone/$class"
    once "merged-other/$class/class.json" "$python" -m trainer merge "$recipe/hypernetworks/$other.safetensors" \
        --class "$class" --prompt "$prompt" --multiplier "$multiplier" --signal-leak "$recipe/prepared-$class/$class" \
        --base "$recipe/base" --out "merged-other/$class"
done
for kind in alone other; do
    once "bundle-$kind/manifest.json" "$python" -m exporter onnx "merged-$kind"/* --out "bundle-$kind" --name "$kind" \
        --base 'the base of the embedded bundle' --steps 20 --guidance-scale 2 --guidance-interval 2 6 \
        --batch-size 8
    for part in blood phantom; do
        names=("${few[@]}")
        [ $part = phantom ] && names=("${phantom[@]}")
        "$python" -m engine generate --bundle "bundle-$kind" --n 150 --seed 1000 --out "$part-$kind" \
            $(printf -- '--class %s ' "${names[@]}")
    done
    for class in "${few[@]}"; do
        evaluate "score-$kind-$class" score "heldout/$class" "blood-$kind/$class"
    done
    for class in "${phantom[@]}"; do
        evaluate "score-$kind-$class" score "unseen-$class/$class" "phantom-$kind/$class"
    done
done

evaluate judge-hypernetworks judge blood-alone blood-other --train "$recipe/real" --train judge --held-out heldout
