#!/usr/bin/env bash
# The recipe of the embedded bundle engine/bundles/cells, through the public command lines alone.
#
#   trainer/recipes/cells.sh PICTURES WORK        (or: make bundle PICTURES=... )
#
# PICTURES holds pretrain/<class>/*.jpg and fewshot/<class>/*.jpg of the blood cells of Acevedo et al. (2020).
# WORK keeps every stage; a stage whose folder stands is not done again, and trainings continue where they were.
set -euo pipefail
pictures=$1 work=$2
python=${PYTHON:-python}
mkdir -p "$work"

attribution='Acevedo, Merino, Alférez, Molina, Boldú, Rodellar (2020), A dataset of microscopic peripheral blood cell images for development of automatic recognition systems, Data in Brief 30:105474; pictures were cropped and resized'

once() { # once FOLDER COMMAND...: run the command unless its folder stands
    [ -e "$1" ] || "${@:2}"
}

# The base sees six classes of photographs and phantoms of a general kind, never the classes' own phantom settings.
once "$work/phantom-general" "$python" -m trainer phantom "$work/phantom-general" --class cytology --n 600 --seed 100000
once "$work/real" "$python" -m trainer prepare "$pictures/pretrain" "$work/real" --size 128 --crop 0.7
once "$work/general" "$python" -m trainer prepare "$work/phantom-general/pictures" "$work/general" --size 128
once "$work/base/model_index.json" "$python" -m trainer pretrain "$work/real" "$work/general" --out "$work/base" \
    --vae-steps 3600 --unet-steps 5500

fit() { # fit CLASS PREPARED SOURCES ORIGIN LICENCE ATTRIBUTION [OPTION...]
    once "$work/hypernetworks/$1.safetensors" "$python" -m trainer fit "$2" --class "$1" --base "$work/base" \
        --out "$work/hypernetworks" --pictures "$3" --origin "$4" --licence "$5" --attribution "$6" "${@:7}"
    once "$work/merged/$1" "$python" -m trainer merge "$work/hypernetworks/$1.safetensors" "$work/merged/$1" \
        --base "$work/base"
    merged+=("$work/merged/$1")
}

merged=()
for class in lymphocyte neutrophil; do
    fit "$class" "$work/real/$class" 600 photographs 'CC BY 4.0' "$attribution" --steps 300
done

# The thesis's four classes are not public; their stand-ins have its numbers of pictures, 100 each after augmentation.
while read -r class count; do
    once "$work/phantom-$class" "$python" -m trainer phantom "$work/phantom-$class" --class "$class" --n "$count"
    once "$work/prepared-$class" "$python" -m trainer prepare "$work/phantom-$class/pictures" "$work/prepared-$class" \
        --size 128 --n 100
    fit "$class" "$work/prepared-$class/$class" "$count" phantom 'Apache-2.0' 'drawn by the phantom of cytosynth' \
        --prompt cytology --steps 400
done <<'CLASSES'
cyt_kist_mast 12
cyt_mast 21
cyt_nep_fib_mast 31
cyt_nep_mast 14
CLASSES

"$python" -m exporter onnx "${merged[@]}" --out "$work/cells" --name cells --steps 20 --guidance-scale 2 --batch-size 8 \
    --base "a small latent-diffusion base of cytosynth, trained on 3,600 blood cells ($attribution; CC BY 4.0) and 600 phantoms"
"$python" -m engine verify "$work/cells"
