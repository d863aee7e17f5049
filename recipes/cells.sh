#!/usr/bin/env bash
# Make the embedded bundle engine/bundles/cells with the public command lines.
#
#   recipes/cells.sh PICTURES WORK        (or: make bundle PICTURES=...)
#
# PICTURES holds pretrain/<class>/*.jpg and fewshot/<class>/*.jpg of the blood cells of Acevedo et al. (2020), and may
# hold further pictures of the base's classes in pretrain_more/<class>/*.jpg. WORK keeps the result of every stage. Run
# the script again to resume: it skips finished stages and resumes trainings. The bundle and its record are in
# WORK/cells. Copy them to engine/bundles/cells by hand if the new bundle is better.
#
# Environment variables:
#   PYTHON         Python interpreter (default: python)
#   START          base from which the training starts, for example cells (default: a new base)
#   UNET_STEPS     training steps of the UNet; 0 keeps the UNet of START and trains only the decoder
#   DECODER_STEPS  training steps of the decoder
#   REFINER_STEPS  training steps of the refiner; 0 leaves it out
#   SNR_GAMMA      weighting of the UNet's loss; larger: more weight on the last noise levels (default: 5)
#   PRECISION      f32, or bf16 for a processor with bfloat16; used without a GPU (default: f32)
set -euo pipefail
[ $# = 2 ] || {
    echo "usage: recipes/cells.sh PICTURES WORK" >&2
    exit 2
}
pictures=$1 work=$2
python=${PYTHON:-python}
mkdir -p "$work"
# Otherwise glibc returns large blocks to the system in every step, and page faults take a quarter of the time.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456

attribution='Acevedo, Merino, Alférez, Molina, Boldú, Rodellar (2020), A dataset of microscopic peripheral blood cell images for development of automatic recognition systems, Data in Brief 30:105474; pictures were cropped and resized'
blood=(erythroblast ig lymphocyte monocyte neutrophil platelet)

once() { # once FILE FOLDER COMMAND...: run the command unless FOLDER has FILE, the last file that the command writes
    [ -e "$2/$1" ] || { rm -rf "$2"; "${@:3}"; }
}
trained() { # trained RECORD: whether a training was carried to its end
    [ -e "$1" ] && "$python" -c '
import json, sys
record = json.load(open(sys.argv[1]))
record = record.get("matching", record)
facts = record.get("training") or {**record["settings"], **record}
sys.exit(facts["steps_done"] < facts["steps"])
' "$1"
}

phantoms() { # phantoms CLASS COUNT SEED
    once phantom.json "$work/phantom-$1" \
        "$python" -m trainer phantom "$work/phantom-$1" --class "$1" --n "$2" --seed "$3"
}

prepared() { # prepared IN OUT [OPTION...]: prepare pictures; the file OUT.done marks a finished folder
    [ -e "$2.done" ] || { rm -rf "$2"; "$python" -m trainer prepare "$1" "$2" --size 128 "${@:3}"; touch "$2.done"; }
}

kept_back() { # kept_back FOLDER: put every sixth picture of a class into settings/, for choosing settings
    [ -e "$work/train.done" ] && return
    rm -rf "$work/train" "$work/settings"
    for class in "${blood[@]}"; do
        mkdir -p "$work/train/$class" "$work/settings/$class"
        local number=0
        for picture in "$1/$class"/*.png; do
            cp "$picture" "$work/$([ $((number % 6)) = 0 ] && echo settings || echo train)/$class"
            number=$((number + 1))
        done
    done
    touch "$work/train.done"
}

# The base learns six classes of photographs and general phantoms, but never the phantom settings of the four classes.
phantoms cytology 600 100000
prepared "$pictures/pretrain" "$work/real" --crop 0.7
prepared "$work/phantom-cytology/pictures" "$work/general"
kept_back "$work/real"
more=()
if [ -d "$pictures/pretrain_more" ]; then
    prepared "$pictures/pretrain_more" "$work/more" --crop 0.7
    more=("$work/more")
fi
if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then # takes minutes
    budget=(--vae-steps 8000 --vae-batch-size 64 --unet-steps 10000 --unet-batch-size 256 --unet-learning-rate 6e-4
        --decoder-steps 2500 --decoder-batch-size 24)
else # takes hours, with a tenth of the pictures
    budget=(--precision "${PRECISION:-f32}" --vae-steps 6000 --unet-steps 7000 --decoder-steps 2000)
fi
[ -e "$work/base/record.json" ] ||
    "$python" -m trainer pretrain "$work/train" ${more[@]+"${more[@]}"} "$work/general" --out "$work/base" \
        --crop 0.7 --licence 'CC BY 4.0' --attribution "$attribution" ${START:+--start-from "$START"} \
        --compile "${budget[@]}" ${UNET_STEPS:+--unet-steps "$UNET_STEPS"} \
        ${SNR_GAMMA:+--unet-snr-gamma "$SNR_GAMMA"} \
        ${DECODER_STEPS:+--decoder-steps "$DECODER_STEPS"} ${REFINER_STEPS:+--refiner-steps "$REFINER_STEPS"}

merged=() multipliers=()
for class in "${blood[@]}"; do
    once class.json "$work/merged/$class" \
        "$python" -m trainer merge --class "$class" --base "$work/base" --out "$work/merged/$class" \
        --signal-leak "$work/train/$class" \
        --origin photographs --pictures 500 --licence 'CC BY 4.0' --attribution "$attribution"
    merged+=("$work/merged/$class")
done

fit() { # fit CLASS PREPARED ORIGIN LICENCE ATTRIBUTION MULTIPLIER [OPTION...]
    [ -e "$work/hypernetworks/$1.json" ] ||
        "$python" -m trainer fit "$2" --class "$1" --base "$work/base" --out "$work/hypernetworks" \
            --origin "$3" --licence "$4" --attribution "$5" --batch-size 16 --learning-rate 1e-3 --lr-scheduler cosine \
            --clipping norm --clip-at 1 --weight-decay 0 --ema-decay 0.99 --symmetries --snr-gamma 5 \
            --latent-sampling deterministic --resume "${@:7}"
    once class.json "$work/merged/$1" \
        "$python" -m trainer merge "$work/hypernetworks/$1.safetensors" --out "$work/merged/$1" --base "$work/base" \
        --multiplier "$6" --signal-leak "$2"
    merged+=("$work/merged/$1") multipliers+=("$1" "$6")
}

# Two classes that the base never sees, with 31 photographs each (100 after augmentation). Each starts at the prompt of
# the class whose training pictures are nearest by FD-cyto. recipes/folds.py chose the steps, and manual cross-validation
# chose the multipliers (docs/notes/embedded-bundle.md).
while read -r class prompt steps multiplier; do
    prepared "$pictures/fewshot/$class" "$work/prepared-$class" --crop 0.7 --n 100
    fit "$class" "$work/prepared-$class/$class" photographs 'CC BY 4.0' "$attribution" "$multiplier" \
        --prompt "$prompt" --steps "$steps" --batch-size 8 --lr-scheduler constant --learning-rate '1e-4:50, 1e-3'
done <<'CLASSES'
basophil ig 300 1.5
eosinophil neutrophil 600 1
CLASSES

# The thesis's four classes are not public. Phantoms replace them, with the thesis's numbers of pictures (100 each after
# augmentation).
while read -r class count; do
    phantoms "$class" "$count" 0
    prepared "$work/phantom-$class/pictures" "$work/prepared-$class" --n 100
    fit "$class" "$work/prepared-$class/$class" phantom 'Apache-2.0' 'drawn by the phantom of cytosynth' 1 \
        --prompt cytology --steps 400
done <<'CLASSES'
cyt_kist_mast 12
cyt_mast 21
cyt_nep_fib_mast 31
cyt_nep_mast 14
CLASSES

# Four steps of a distilled UNet (docs/notes/few-steps.md). Its pictures are matched with the photographs that trained the
# classes, while it learns to do with three steps. Then the refiner learns from them and from the pictures of the default
# settings (docs/notes/texture-training.md). All photographs of this data set were stored as JPEG in the same way, so any of
# them shows how.
trained "$work/matched/turbo.json" || trained "$work/shortened/turbo.json" || trained "$work/distilled/turbo.json" ||
    "$python" -m trainer distill "${merged[@]}" --out "$work/distilled" --guidance-scale 2 --guidance-interval 2 6 \
        --pictures 128 --steps 600 --resume
prepared "$pictures/fewshot" "$work/few" --crop 0.7
[ -e "$work/photographs.done" ] || {
    rm -rf "$work/photographs"
    for folder in "$work/train" "$work/few" ${more[@]+"${more[@]}"}; do
        mkdir -p "$work/photographs" && cp -r "$folder/." "$work/photographs"
    done
    touch "$work/photographs.done"
}
trained "$work/matched/turbo.json" || trained "$work/shortened/turbo.json" ||
    "$python" -m trainer match "$work/distilled/turbo.safetensors" "${merged[@]}" --photographs "$work/photographs" \
        --out "$work/shortened" --rows 3 --steps 800 --resume
trained "$work/refined/refiner.json" ||
    "$python" -m trainer refine "${merged[@]}" --photographs "$work/photographs" --out "$work/refined" \
        --few-steps "$work/shortened/turbo.safetensors" --guidance-scale 2 --guidance-interval 2 6 --resume \
        --stored-as "$(find "$pictures/fewshot" -name '*.jpg' | LC_ALL=C sort | sed -n 1p)"
for folder in "$work/base" "${merged[@]}"; do
    cp "$work/refined/refiner.safetensors" "$folder"
done
# With three steps the VAE's decoder takes almost half of the time of a picture. The preset has a smaller one. Then the
# LoRA learns once more, with this decoder and from classifiers of the photographs.
trained "$work/matched_decoder/small_decoder.json" || trained "$work/shrunk/small_decoder.json" ||
    "$python" -m trainer shrink "${merged[@]}" --photographs "$work/photographs" --out "$work/shrunk" \
        --few-steps "$work/shortened/turbo.safetensors" --guidance-scale 2 --guidance-interval 2 6 --resume
trained "$work/matched_decoder/small_decoder.json" ||
    "$python" -m trainer match-decoder "$work/shrunk/small_decoder.safetensors" "${merged[@]}" --resume \
        --photographs "$work/photographs" --few-steps "$work/shortened/turbo.safetensors" --out "$work/matched_decoder"
trained "$work/matched/turbo.json" ||
    "$python" -m trainer match "$work/shortened/turbo.safetensors" "${merged[@]}" --photographs "$work/photographs" \
        --decoder "$work/matched_decoder/small_decoder.safetensors" --class-weight 2 --steps 480 --out "$work/matched" --resume
trained "$work/table/learned.json" ||
    "$python" -m trainer table "${merged[@]}" --out "$work/table/learned.json" --rows 8 --pictures 32 --steps 120 \
        --guidance-scale 2 --guidance-interval 2 6 --resume

rm -rf "$work/cells"
"$python" -m exporter onnx "${merged[@]}" --out "$work/cells" --name cells --steps 20 --guidance-scale 2 --guidance-interval 2 6 \
    --batch-size 8 \
    --base "a small latent-diffusion base of cytosynth, trained on 3,000 photographs of blood cells ($attribution; CC BY 4.0) and 600 phantoms"
"$python" -m exporter preset "$work/cells" fast --steps 12 --precision int8
"$python" -m exporter preset "$work/cells" learned --table "$work/table/learned.json" --precision int8
few=()
for folder in "${merged[@]}"; do
    class=$(basename "$folder")
    once class.json "$work/turbo/$class" \
        "$python" -m trainer merge "$work/matched/turbo.safetensors" --base "$folder" --out "$work/turbo/$class"
    few+=("$work/turbo/$class")
done
"$python" -m exporter preset "$work/cells" turbo "${few[@]}" --table "$work/matched/turbo.json" --precision f32 \
    --decoder "$work/matched_decoder/small_decoder.safetensors"
"$python" -m exporter int8 "$work/cells"
"$python" -m engine verify "$work/cells"
"$python" -c '
import json, pathlib, sys
work, multipliers = pathlib.Path(sys.argv[1]), dict(zip(sys.argv[2::2], map(float, sys.argv[3::2])))
read = lambda path: json.loads(path.read_text())
record = {"recipe": "recipes/cells.sh", "base": read(work / "base/record.json")}
record["hypernetworks"] = {name: {**read(work / f"hypernetworks/{name}.json"), "multiplier": m} for name, m in sorted(multipliers.items())}
record["distillation"] = read(work / "matched/turbo.json")
record["table"] = read(work / "table/learned.json")
record["refining"] = read(work / "refined/refiner.json")
record["shrinking"] = read(work / "matched_decoder/small_decoder.json")
(work / "cells/record.json").write_text(json.dumps(record, indent=1) + "\n")
' "$work" "${multipliers[@]}"
echo "The bundle and its record are in $work/cells."
