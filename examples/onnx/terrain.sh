#!/usr/bin/env bash
# Terrains from a network that was made elsewhere: see README.md. One optional command, which needs
# Python 3.10 or later, Rust, and 39 MB of download (55 MB with the runtime to compare with).
set -euo pipefail
cd "$(dirname "$0")"
work="${1:-target/terrain}"
mkdir -p "$work"
python3 -m venv "$work/venv"
python="$work/venv/bin/python"
"$python" -m pip install --quiet --no-deps adaptive-terrain-diffusion==0.4.2
package=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/terrain_diffusion
cargo run --release --locked --features terrain --bin terrain -- \
    "$package/weights/terrain_consistency_unet_difficulty100.onnx" "$work"
if "$python" -m pip install --quiet numpy onnxruntime==1.32.0; then
    "$python" compare.py "$work"
else
    echo "not compared: ONNX Runtime could not be installed"
fi
