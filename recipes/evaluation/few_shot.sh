#!/usr/bin/env bash
# Write few_shot.html with the public command lines. `make reports` keeps the report in build/reports/few_shot.
#
#   recipes/evaluation/few_shot.sh PICTURES RECIPE      (run it in a work folder, which keeps every stage)
#
# PICTURES holds fewshot/ and heldout/ of the blood cells of Acevedo et al. (2020). RECIPE is the work folder of
# `make bundle`; the script uses its folders base and real. The held-out pictures are used only for measuring, never for
# choosing settings. Run the script again to resume: it skips finished stages.
set -euo pipefail
[ $# = 2 ] || {
    echo "usage: recipes/evaluation/few_shot.sh PICTURES RECIPE" >&2
    exit 2
}
pictures=$1 recipe=$2
python=${PYTHON:-python}
. "$(dirname "$0")/stages.sh"

attribution='Acevedo, Merino, Alférez, Molina, Boldú, Rodellar (2020), A dataset of microscopic peripheral blood cell images for development of automatic recognition systems, Data in Brief 30:105474; pictures were cropped and resized'

once heldout/sources.jsonl "$python" -m trainer prepare "$pictures/heldout" heldout --size 128 --crop 0.7
once pretrain "$(command -v ln)" -s "$recipe/real" pretrain

# Basophil and eosinophil, which the base never saw, with the first 12, 21 and 31 few-shot pictures.
for count in 31 21 12; do
    for class in basophil eosinophil; do
        few=fewshot-$count/$class
        if [ ! -e "$few" ]; then
            mkdir -p "$few.part"
            find "$pictures/fewshot/$class" -type f | LC_ALL=C sort | sed -n "1,${count}p" | xargs -I{} cp {} "$few.part"
            mv "$few.part" "$few"
        fi
        once "augmented-$count-$class/sources.jsonl" \
            "$python" -m trainer prepare "$few" "augmented-$count-$class" --size 128 --crop 0.7 --n 100
        once "hypernetworks-$count/$class.json" \
            "$python" -m trainer fit "augmented-$count-$class/$class" --class "$class" --base "$recipe/base" \
            --out "hypernetworks-$count" --licence 'CC BY 4.0' --attribution "$attribution" --prompt neutrophil \
            --steps 400 --batch-size 16 --learning-rate 1e-3 --lr-scheduler cosine --clipping norm --clip-at 1 \
            --weight-decay 0 --ema-decay 0.99 --symmetries --snr-gamma 5 --latent-sampling deterministic --resume
        once "merged-$count/$class/class.json" \
            "$python" -m trainer merge "hypernetworks-$count/$class.safetensors" --out "merged-$count/$class" \
            --base "$recipe/base"
    done
    once "real-$count/sources.jsonl" \
        "$python" -m trainer prepare "fewshot-$count" "real-$count" --size 128 --crop 0.7
    once "bundle-$count/manifest.json" \
        "$python" -m exporter onnx "merged-$count"/* --out "bundle-$count" --name "few-shot-$count" \
        --base "the base of the embedded bundle; $attribution; CC BY 4.0" --steps 20 --guidance-scale 2 --batch-size 8
    "$python" -m engine generate --bundle "bundle-$count" --class all --n 300 --out "synthetic-$count"
    for class in basophil eosinophil; do
        other=$([ "$class" = basophil ] && echo eosinophil || echo basophil)
        synthetic=synthetic-$count/$class
        evaluate "score-$count-$class" score "heldout/$class" "$synthetic" --other "heldout/$other"
        evaluate "copies-$count-$class" copies "$synthetic" --train "real-$count/$class" --held-out "heldout/$class"
        evaluate "morphology-$count-$class" morphology "heldout/$class" "$synthetic"
    done
    evaluate "utility-$count" utility --real "real-$count" --synthetic "synthetic-$count" --held-out heldout \
        --pretrain pretrain --seeds 2
done

note='The cells are those of Acevedo et al. (2020), CC BY 4.0, and what was trained on them. Real pictures are not shown here: they stay where they are published. recipes/evaluation/few_shot.sh made every part, and shows them without --no-real-pictures.'
"$python" -m evaluate report records/utility-{31,21,12} \
    records/{score,copies,morphology}-{31,21,12}-{basophil,eosinophil} --no-real-pictures \
    --note "$note" --title 'Two classes that the base never saw, from 12, 21 and 31 pictures' --out few_shot.html
