#!/usr/bin/env bash
# Terrains from a network that was made elsewhere: see README.md. It needs Rust and Python 3.10 or
# later, and downloads 39 MB, then 45 MB of Python packages to compare with.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
mkdir -p "${1:-$here/target/terrain}"
work="$(cd "${1:-$here/target/terrain}" && pwd)"
cd "$here"
python3 -m venv "$work/venv"
python="$work/venv/bin/python"
# Without its dependencies: they are a runtime for GPUs.
"$python" -m pip install --quiet --no-deps adaptive-terrain-diffusion==0.4.2
package=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/terrain_diffusion
cargo run --release --locked --features terrain,ort --bin terrain -- \
    "$package/weights/terrain_consistency_unet_difficulty100.onnx" "$work"
# The package asks for the runtime for GPUs, which is left out: no warning of that.
"$python" -m pip install --quiet --no-warn-conflicts numpy onnxruntime==1.32.0
"$python" compare.py "$work"
