#!/usr/bin/env bash
# Measure every figure of docs/model-card.md with the public command lines: records/, sheets/, a report, the model card.
#
#   recipes/evaluation/cells.sh PICTURES RECIPE      (run it in a work folder, which keeps every stage)
#
# PICTURES holds fewshot/, heldout/ and judge/ of the blood cells of Acevedo et al. (2020). RECIPE is the work folder of
# `make bundle`. The held-out pictures are used only for measuring, never for choosing settings. Run the script again to
# resume: it skips finished stages.
set -euo pipefail
[ $# = 2 ] || {
    echo "usage: recipes/evaluation/cells.sh PICTURES RECIPE" >&2
    exit 2
}
pictures=$1 recipe=$2
python=${PYTHON:-python}
here=$(cd "$(dirname "$0")" && pwd)
. "$here/stages.sh"

# float32, which every processor has: one with bfloat16 would take that, and its pictures differ a little.
generate() { # generate OUT WAY CLASS...: draw 150 cells of each class with the default settings or a preset
    local preset=()
    [ "$2" = default ] || preset=(--preset "$2")
    "$python" -m engine generate --bundle "$recipe/cells" --n 150 --seed 1000 --precision f32 --out "$1" \
        $(printf -- '--class %s ' "${@:3}") "${preset[@]}"
}

mkdir -p records
# The records contain the names of their folders. The link gives RECIPE the same name everywhere.
[ -L recipe ] || ln -s "$(realpath "$recipe")" recipe
[ "$(realpath recipe)" = "$(realpath "$recipe")" ] ||
    { echo "The link recipe leads to $(realpath recipe), not to $recipe: work in another folder." >&2; exit 2; }
recipe=recipe
for part in heldout judge; do
    once "$part/sources.jsonl" "$python" -m trainer prepare "$pictures/$part" "$part" --size 128 --crop 0.7
done
once few/sources.jsonl "$python" -m trainer prepare "$pictures/fewshot" few --size 128 --crop 0.7
for class in "${phantom[@]}"; do
    once "phantoms-$class/phantom.json" \
        "$python" -m trainer phantom "phantoms-$class" --class "$class" --n 300 --seed 50000
    once "unseen-$class/sources.jsonl" "$python" -m trainer prepare "phantoms-$class/pictures" "unseen-$class" --size 128
done

# 31 real pictures of each class of blood cells, the number that a laboratory has.
if [ ! -e real-31 ]; then
    mkdir real-31.part
    for class in "${base[@]}"; do
        mkdir "real-31.part/$class"
        find "$recipe/train/$class" -type f | LC_ALL=C sort | sed -n 1,31p | xargs -I{} cp {} "real-31.part/$class"
    done
    for class in "${few[@]}"; do cp -r "few/$class" "real-31.part/$class"; done
    mv real-31.part real-31
fi

for way in default turbo; do
    generate $way $way "${base[@]}" "${few[@]}"
    for class in "${base[@]}" "${few[@]}"; do
        other=$(after "$class" "${base[@]}" "${few[@]}")
        train=$recipe/train/$class
        [ -e "$train" ] || train=few/$class
        evaluate "score-$way-$class" score "heldout/$class" "$way/$class" --other "heldout/$other"
        evaluate "probe-$way-$class" probe "heldout/$class" "$way/$class"
        evaluate "morphology-$way-$class" morphology "heldout/$class" "$way/$class"
        [ $way = default ] ||
            evaluate "copies-$way-$class" copies "$way/$class" --train "$train" --held-out "heldout/$class"
    done
done
generate phantom turbo "${phantom[@]}"
once phantom_probe.json "$python" -m benchmarks.scripts.phantom_probe phantom_probe.json phantom
for class in "${phantom[@]}"; do
    other=$(after "$class" "${phantom[@]}")
    evaluate "score-turbo-$class" score "unseen-$class/$class" "phantom/$class" --other "unseen-$other/$other"
done
evaluate judge judge default turbo --train "$recipe/real" --train judge --held-out heldout
evaluate utility utility --real real-31 --synthetic turbo --held-out heldout --seeds 3

# sheets/ shows no photograph, sheets/beside-real/ the held-out cells on the left.
for class in "${base[@]}" "${few[@]}"; do
    once "sheets/$class.jpg" "$python" -m recipes.sheet "sheets/$class.jpg" "turbo/$class"
    once "sheets/beside-real/$class.jpg" \
        "$python" -m recipes.sheet "sheets/beside-real/$class.jpg" "turbo/$class" "heldout/$class"
done
for class in "${phantom[@]}"; do
    once "sheets/$class.jpg" "$python" -m recipes.sheet "sheets/$class.jpg" "phantom/$class" "unseen-$class/$class"
done

note='The cells are those of Acevedo et al. (2020), CC BY 4.0, and what was trained on them. Real pictures are not shown here: they stay where they are published. recipes/evaluation/cells.sh made every part, and shows them without --no-real-pictures.'
records=()
for class in "${base[@]}" "${few[@]}"; do records+=(records/{score,probe,copies,morphology}-turbo-"$class"); done
"$python" -m evaluate report records/utility records/judge "${records[@]}" --no-real-pictures --note "$note" \
    --title 'The embedded bundle against held-out blood cells' --out blood_cells.html
"$python" -m recipes.model_card . "$recipe" > model-card.md
echo 'blood_cells.html and model-card.md are written.'
