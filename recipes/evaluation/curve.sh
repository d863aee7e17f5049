#!/usr/bin/env bash
# Write curve.html: the thesis's training on the four phantom classes, scored every 5,000 steps. `make reports` keeps the
# report in build/reports/curve.
#
#   recipes/evaluation/curve.sh RECIPE      (run it in a work folder, which keeps the result of every stage)
#
# RECIPE is the work folder of `make bundle`. The script uses its folders base and prepared-cyt_* (12, 21, 31 and 14
# phantoms, each class augmented to 100). `fit` uses its default settings, which are the thesis's: batch size 1, learning
# rate 1e-5, 20,000 steps. Run the script again to resume: it skips finished stages.
set -euo pipefail
[ $# = 1 ] || {
    echo "usage: recipes/evaluation/curve.sh RECIPE" >&2
    exit 2
}
recipe=$1
python=${PYTHON:-python}

for class in cyt_kist_mast cyt_mast cyt_nep_fib_mast cyt_nep_mast; do
    [ -e "hypernetworks/$class.json" ] ||
        "$python" -m trainer fit "$recipe/prepared-$class/$class" --class "$class" --base "$recipe/base" \
            --out hypernetworks --origin phantom --licence Apache-2.0 --attribution 'drawn by the phantom of cytosynth' \
            --prompt cytology --save-every 5000 --resume
done

# Phantoms of the same kinds with other seeds, which no training has seen.
[ -e unseen-drawn/phantom.json ] || "$python" -m trainer phantom unseen-drawn --n 300 --seed 500000
[ -e unseen/sources.jsonl ] || "$python" -m trainer prepare unseen-drawn/pictures unseen --size 128

"$python" -m evaluate curve hypernetworks --base "$recipe/base" --real unseen --out curve --guidance-scale 2
"$python" -m evaluate report curve/record --title "Figures against training steps: the thesis's experiment on phantoms" \
    --note 'All pictures are drawn by the phantom of cytosynth or made by what learnt from them; recipes/evaluation/curve.sh made every part.' \
    --out curve.html
