#!/usr/bin/env bash
# Installs the wheel without any extra under each Python from 3.11 to 3.14 that this machine has, and walks the line:
# every help text, a synthetic city, its default vectors, a prediction, the report. Needs uv, which `make lint` sets up.
#
#   .ci/every_python.sh          # each Python that is found
#   .ci/every_python.sh 3.13     # these alone
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
command -v "$uv" > /dev/null || uv=uv
export UV_PYTHON_DOWNLOADS=never
unset PYTHONPATH
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

# A shim of pyenv stands on the PATH for versions that are not switched on; only what runs counts.
find_python() {
  local candidate
  for candidate in "$(command -v "python$1")" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python /usr/bin/"python$1"; do
    if [ -n "$candidate" ] && "$candidate" -c "" 2> /dev/null; then echo "$candidate"; return; fi
  done
  return 1
}

run() {
  "$home/venv/bin/chorograph" "$@" > "$home/log" 2>&1 && return
  cat "$home/log"
  echo "python $version: chorograph $* failed"
  exit 1
}

walk() {
  home=$place/$version
  "$uv" venv --quiet --python "$1" "$home/venv"
  "$uv" pip install --quiet --python "$home/venv/bin/python" --constraint requirements/all.txt "$place"/wheel/*.whl
  "$home/venv/bin/python" .ci/every_help.py
  run --version
  run area synthetic "$home/city" --regions 40 --tiles-per-region 1 --street-views-per-region 1
  run area check "$home/city"
  run graph info "$home/city"
  run embed "$home/city"
  run predict "$home/city" --indicator median_income --log --block-m 300 --out "$home/run"
  run report "$home/run"
  # What needs torch says which extra brings it.
  if "$home/venv/bin/chorograph" pretrain "$home/city" --out "$home/coca" > "$home/log" 2>&1; then
    echo "python $version: pretrain ran without torch"
    exit 1
  fi
  grep -q "chorograph\[models\]" "$home/log" || { cat "$home/log"; exit 1; }
}

"$uv" build --quiet --wheel --out-dir "$place/wheel" .
walked=0
[ $# -gt 0 ] || set -- 3.11 3.12 3.13 3.14
for version in "$@"; do
  if ! python=$(find_python "$version"); then
    echo "python $version: not on this machine, left out"
    continue
  fi
  started=$SECONDS
  walk "$python"
  echo "python $("$python" -c 'import platform; print(platform.python_version())'): walked in $((SECONDS - started)) s"
  walked=$((walked + 1))
done
[ "$walked" -gt 0 ]
