#!/bin/sh
# What only a GPU can say, in one script of at most eight minutes on one H100 or H200: a CoCa ViT-L/14 step beside
# open_clip's (share of the chip's peak, memory), shards read to the device, bulk embedding, a diffusion step.
#
#   benchmarks/on_gpu.sh              on a machine with a GPU; results/*cuda*.json
#   OUT=FOLDER benchmarks/on_gpu.sh   copies of these into FOLDER too
#   DRY=1 benchmarks/on_gpu.sh        the same calls on a CPU with tiny models; its results go to a folder that is removed
#
# It needs this checkout (installed or not), the extras models and generate, and webdataset (`pip install -e
# '.[models,generate]' webdataset`). Images and weights are made up: no data lies beside it, nothing is downloaded.
# PYTHON names the interpreter (python). A part that fails is said and does not stop the others; the exit code tells.
set -u
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python}
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1
failed=""

part() { # name, seconds, command...
    name=$1 limit=$2
    shift 2
    echo "== $name"
    began=$(date +%s)
    timeout "$limit" "$@" || failed="$failed $name"
    echo "== $name: $(($(date +%s) - began)) s"
}

if [ "${DRY:-0}" = 1 ]; then
    # The same scripts, away from the results that are kept; a busy CPU may take its time.
    away=$(mktemp -d) || exit 1
    trap 'rm -rf "$away"' EXIT
    cp benchmarks/*.py "$away" && here=$away
    part coca_step 1200 "$python" "$here/coca_step.py" --device cpu --model tiny --batch-size 4 --warm-up 1 --rounds 1
    part shard_reading 1200 "$python" "$here/shard_reading.py" --device cpu --rounds 1
    part bulk_embedding 1200 "$python" "$here/bulk_embedding.py" --device cpu --number 32 --rounds 1
    part diffusion_step 1200 "$python" "$here/diffusion_step.py" --device cpu --size tiny --batch-size 2 --rounds 1
    echo "dry run; results that are not kept: $(ls "$here/results" | tr '\n' ' ')"
else
    here=benchmarks
    part coca_step 200 "$python" "$here/coca_step.py" --device cuda --model coca_ViT-L-14 --batch-size 128 --warm-up 5 --rounds 20
    part shard_reading 80 "$python" "$here/shard_reading.py" --device cuda --rounds 3
    part bulk_embedding 100 "$python" "$here/bulk_embedding.py" --device cuda --number 4096
    part diffusion_step 100 "$python" "$here/diffusion_step.py" --device cuda --size full --batch-size 8 --rounds 10
    [ -z "${OUT:-}" ] || cp benchmarks/results/*cuda*.json "$OUT"
fi
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
