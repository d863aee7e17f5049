#!/usr/bin/env bash
# Measure the records of docs/benchmarks.md and write the page. `make bench` runs this script. Environment variables:
#
#   MERGED      merged folder of a class of BUNDLE (default: a small base of random weights)
#   BUNDLE      name or folder of a bundle with the same weights as MERGED (default: cells)
#   FULL_SIZE   1 also measures the size of Stable Diffusion 1.5, with random weights
#   BATCHES     batch sizes (default: 1,8,16)
#   ROUNDS      rounds (default: 5)
#   SCALE       pictures per whole run (default: 1,10,100,1000,10000)
#   SCALE_WITH  further options of `engine generate` for whole runs, for example "--preset fast"
#   RECORDS     folder for the records (default: docs/benchmarks with MERGED, otherwise WORK/records)
#   WORK        folder for everything else (default: build/bench)
#   PYTHON      Python interpreter (default: python)
set -euo pipefail
published=$(cd "$(dirname "$0")/../docs/benchmarks" && pwd)
python=${PYTHON:-python} work=${WORK:-build/bench} rounds=${ROUNDS:-5}
# Records of random weights must not replace the published records.
records=${RECORDS:-${MERGED:+$published}}
records=${records:-$work/records}
mkdir -p "$work" "$records"
records=$(realpath "$records")

random_bundle() { # random_bundle small|full: make WORK/<size>/merged and WORK/<size>/bundle unless they exist
    local folder=$work/$1
    [ -e "$folder/bundle/manifest.json" ] && return
    rm -rf "$folder"
    "$python" -m benchmarks.scripts.random_base "$folder/base" "$1"
    "$python" -m trainer merge --class random --base "$folder/base" --out "$folder/merged" \
        --origin phantom --pictures 1 --licence CC0 --attribution 'random weights'
    "$python" -m exporter onnx "$folder/merged" --out "$folder/bundle" --name random --base "random weights" \
        --guidance-scale 2
    rm -rf "$folder/base"
}

if [ -n "${MERGED:-}" ]; then
    merged=$MERGED bundle=${BUNDLE:-cells}
else
    random_bundle small
    merged=$work/small/merged bundle=$work/small/bundle
fi
class=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1] + "/class.json"))["class_name"])' "$merged")

"$python" -m benchmarks peers "$bundle" --merged "$merged" --part picture --part step --part decode \
    --batch-size "${BATCHES:-1,8,16}" --rounds "$rounds" --record "$records/peers_small.json"
"$python" -m engine bench "$bundle" --class "$class" --batch-size "${BATCHES:-1,8,16}" --rounds "$rounds" \
    --record "$records/stages.json"
"$python" -m benchmarks.scripts.scaling "$records/scaling.json" --n "${SCALE:-1,10,100,1000,10000}" \
    --bundle "$bundle" --class "$class" ${SCALE_WITH:-}
if [ -n "${FULL_SIZE:-}" ]; then
    # The cap lets systems that need more than 20 s, such as emulated bfloat16, run in only one round.
    random_bundle full
    "$python" -m benchmarks peers "$work/full/bundle" --merged "$work/full/merged" --part step --part decode \
        --batch-size 1 --rounds 3 --cap 20 --record "$records/peers_full_size.json"
fi
if [ "$records" = "$published" ]; then
    "$python" -m benchmarks.pages.page
else
    "$python" -m benchmarks.pages.page "$records" "$records/benchmarks.md"
fi
