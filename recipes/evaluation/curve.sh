#!/usr/bin/env bash
# What docs/evaluation/curve.html reports: the thesis's training on the four phantom classes, scored every 5,000 steps.
#
#   recipes/evaluation/curve.sh RECIPE      from a folder for the work, which keeps every stage
#
# RECIPE is what `make bundle` left behind (its folders base and prepared-cyt_*: 12, 21, 31 and 14 phantoms, each class
# augmented to 100). Settings of `fit` are its defaults, those of the thesis: batch 1, rate 1e-5, 20,000 steps.
set -euo pipefail
recipe=$1
python=${PYTHON:-python}

for class in cyt_kist_mast cyt_mast cyt_nep_fib_mast cyt_nep_mast; do
    [ -e "hypernetworks/$class.json" ] ||
        "$python" -m trainer fit "$recipe/prepared-$class/$class" --class "$class" --base "$recipe/base" \
            --out hypernetworks --origin phantom --licence Apache-2.0 --attribution 'drawn by the phantom of cytosynth' \
            --prompt cytology --save-every 5000 --resume
done

# Phantoms of the same kinds that were not trained on: other seeds.
[ -e unseen-drawn/phantom.json ] || "$python" -m trainer phantom unseen-drawn --n 300 --seed 500000
[ -e unseen/sources.jsonl ] || "$python" -m trainer prepare unseen-drawn/pictures unseen --size 128

"$python" -m evaluate curve hypernetworks --base "$recipe/base" --real unseen --out curve --guidance-scale 2
"$python" -m evaluate report curve/record --title "Figures against training steps: the thesis's experiment on phantoms" \
    --note 'All pictures are drawn by the phantom of cytosynth or made by what learnt from them; recipes/evaluation/curve.sh made every part.' \
    --out curve.html
