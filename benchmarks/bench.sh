#!/usr/bin/env bash
# The records of docs/benchmarks.md, then the page; `make bench` calls it. Everything is said by the environment:
#
#   MERGED     a merged folder of a class of BUNDLE; without one, a small base of random weights is made
#   BUNDLE     an embedded bundle's name or a folder (cells); of the same weights as MERGED, or the comparison refuses
#   FULL_SIZE  1 measures Stable Diffusion 1.5's size too, on random weights
#   BATCHES, ROUNDS, SCALE    batch sizes, rounds, and the sizes of whole runs
#   SCALE_WITH further options of `engine generate` for those runs, such as "--preset fast"
#   RECORDS    where the records go: docs/benchmarks with MERGED, else WORK/records
#   WORK       where everything else goes (build/bench)
set -euo pipefail
published=$(cd "$(dirname "$0")/../docs/benchmarks" && pwd)
python=${PYTHON:-python} work=${WORK:-build/bench} rounds=${ROUNDS:-5}
# Records of random weights stand in for no published ones.
records=${RECORDS:-${MERGED:+$published}}
records=${records:-$work/records}
mkdir -p "$work" "$records"
records=$(realpath "$records")

random_bundle() { # random_bundle small|full: WORK/<size>/merged and WORK/<size>/bundle
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
    # What takes longer than 20 s, such as emulated bfloat16, is timed once.
    random_bundle full
    "$python" -m benchmarks peers "$work/full/bundle" --merged "$work/full/merged" --part step --part decode \
        --batch-size 1 --rounds 3 --cap 20 --record "$records/peers_full_size.json"
fi
page=$records/benchmarks.md
[ "$records" = "$published" ] && page=$published/../benchmarks.md
"$python" -m benchmarks.pages.page "$records" "$page"
