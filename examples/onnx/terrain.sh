#!/usr/bin/env bash
# Terrains from a network that was made elsewhere: see README.md. It needs Rust and Python 3.10 or
# later, and downloads 84 MB: the package of 39 MB, and what it needs to be compared with.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
mkdir -p "${1:-$here/target/terrain}"
work="$(cd "${1:-$here/target/terrain}" && pwd)"
cd "$here"
python3 -m venv "$work/venv"
python="$work/venv/bin/python"
# What to compare with, then the package without its dependencies, which are a runtime for GPUs.
"$python" -m pip install --quiet numpy onnxruntime==1.32.0
"$python" -m pip install --quiet --no-deps adaptive-terrain-diffusion==0.4.2
package=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/terrain_diffusion
cargo run --release --locked --features terrain,ort --bin terrain -- \
    "$package/weights/terrain_consistency_unet_difficulty100.onnx" "$work"
"$python" compare.py "$work"
