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

base=(erythroblast ig lymphocyte monocyte neutrophil platelet)
few=(basophil eosinophil)
phantom=(cyt_kist_mast cyt_mast cyt_nep_fib_mast cyt_nep_mast)

generate() { # generate OUT BUNDLE N CLASS...
    "$python" -m engine generate --bundle "$2" --n "$3" --seed 1000 --out "$1" $(printf -- '--class %s ' "${@:4}") ${preset:+--preset $preset}
}
after() { # after NAME LIST...: print the name that follows NAME; the first name follows the last
    local names=("${@:2}" "$2") i
    for i in "${!names[@]}"; do [ "${names[i]}" = "$1" ] && echo "${names[i + 1]}" && return; done
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

once autoencoder.json "$python" -m benchmarks.scripts.autoencoder autoencoder.json "$recipe/base" heldout/*/
generate blood "$recipe/cells" 300 "${base[@]}" "${few[@]}"
generate phantom "$recipe/cells" 300 "${phantom[@]}"
preset=fast generate fast "$recipe/cells" 150 "${base[@]}" "${few[@]}" "${phantom[@]}"

# sheets/ shows no photograph, sheets/beside-real/ the held-out cells on the left.
for class in "${base[@]}" "${few[@]}"; do
    once "sheets/$class.jpg" "$python" -m recipes.sheet "sheets/$class.jpg" "blood/$class"
    once "sheets/beside-real/$class.jpg" \
        "$python" -m recipes.sheet "sheets/beside-real/$class.jpg" "blood/$class" "heldout/$class"
done
for class in "${phantom[@]}"; do
    once "sheets/$class.jpg" "$python" -m recipes.sheet "sheets/$class.jpg" "phantom/$class" "unseen-$class/$class"
done

once phantom_probe.json "$python" -m benchmarks.scripts.phantom_probe phantom_probe.json phantom

# What the hypernetwork does: the same prompt and signal leak on the base alone, and with another class's hypernetwork.
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
    generate "blood-$kind" "bundle-$kind" 150 "${few[@]}"
    generate "phantom-$kind" "bundle-$kind" 150 "${phantom[@]}"
done

for class in "${base[@]}" "${few[@]}"; do
    other=$(after "$class" "${base[@]}" "${few[@]}")
    train=$recipe/train/$class
    [ -e "$train" ] || train=few/$class
    evaluate "score-$class" score "heldout/$class" "blood/$class" --other "heldout/$other"
    evaluate "copies-$class" copies "blood/$class" --train "$train" --held-out "heldout/$class"
    evaluate "morphology-$class" morphology "heldout/$class" "blood/$class"
done
for class in "${phantom[@]}"; do
    other=$(after "$class" "${phantom[@]}")
    evaluate "score-$class" score "unseen-$class/$class" "phantom/$class" --other "unseen-$other/$other"
done
for class in "${base[@]}" "${few[@]}"; do evaluate "score-fast-$class" score "heldout/$class" "fast/$class"; done
for class in "${phantom[@]}"; do evaluate "score-fast-$class" score "unseen-$class/$class" "fast/$class"; done
for kind in alone other; do
    for class in "${few[@]}"; do
        evaluate "score-$kind-$class" score "heldout/$class" "blood-$kind/$class"
    done
    for class in "${phantom[@]}"; do
        evaluate "score-$kind-$class" score "unseen-$class/$class" "phantom-$kind/$class"
    done
done
evaluate judge judge blood blood-alone blood-other --train "$recipe/real" --train judge --held-out heldout
evaluate utility utility --real real-31 --synthetic blood --held-out heldout --pretrain "$recipe/real" --seeds 2

note='The cells are those of Acevedo et al. (2020), CC BY 4.0, and what was trained on them. Real pictures are not shown here: they stay where they are published. recipes/evaluation/cells.sh made every part, and shows them without --no-real-pictures.'
records=()
for class in "${base[@]}" "${few[@]}"; do records+=(records/{score,copies,morphology}-"$class"); done
"$python" -m evaluate report records/utility records/judge "${records[@]}" --no-real-pictures --note "$note" \
    --title 'The embedded bundle against held-out blood cells' --out blood_cells.html
"$python" -m recipes.model_card . "$recipe" > model-card.md
echo 'blood_cells.html and model-card.md are written.'
