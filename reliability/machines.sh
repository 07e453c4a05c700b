#!/usr/bin/env bash
# The golden hashes (tests/data/golden.txt) on other machines: one command for all that this one can
# build for and run. What it lacks is skipped with a line; what differs ends it with 1.
#
#   reliability/machines.sh [host] [features] [i686] [aarch64] [s390x] [wasm32]     all without a name
#   LIB=1 reliability/machines.sh i686 s390x                                        the unit tests too
set -uo pipefail
cd "$(dirname "$0")/.."
# Of its own, so that nothing waits for another build.
export CARGO_INCREMENTAL=0 CARGO_TARGET_DIR="${MACHINES_TARGET_DIR:-target/machines}"
export CARGO_PROFILE_TEST_OPT_LEVEL="${CARGO_PROFILE_TEST_OPT_LEVEL:-1}"
failed=()

has() { command -v "$1" > /dev/null; }

# skip NAME REASON
skip() { printf '== %s: skipped, %s\n' "$1" "$2"; }

# golden NAME [ARGUMENT…] – the golden hashes, with these arguments of cargo.
golden() {
    local name=$1 begun=$SECONDS
    shift
    printf '== %s\n' "$name"
    if cargo test --quiet --locked -p machines --test golden "$@" -- --nocapture; then
        printf '== %s: the same bits, %d seconds\n' "$name" $((SECONDS - begun))
    else
        failed+=("$name")
    fi
}

# machine NAME TARGET LINKER RUNNER… – a target of Rust, how to link for it and how to run.
machine() {
    local name=$1 target=$2 linker=$3 variable
    shift 3
    variable="CARGO_TARGET_$(printf %s "$target" | tr 'a-z-' 'A-Z_')"
    if ! has rustup || ! rustup target list --installed | grep -qx "$target"; then
        skip "$name" "no standard library (rustup target add $target)"
    elif [ -n "$linker" ] && ! has "$linker"; then
        skip "$name" "no linker $linker"
    elif ! has "$1"; then
        skip "$name" "nothing to run it: $1"
    else
        export "${variable}_RUNNER=$*"
        if [ -n "$linker" ]; then export "${variable}_LINKER=$linker"; fi
        golden "$name" --target "$target"
        if [ "${LIB:-}" = 1 ] && [ "$name" != wasm32 ]; then
            printf '== %s, unit tests\n' "$name"
            cargo test --quiet --locked --all-features --lib --target "$target" || failed+=("$name, unit tests")
        fi
    fi
}

# Linux on x86-64 runs programs for i686 itself, given their loader.
i686() {
    local root=/usr/i686-linux-gnu/lib
    if [ -x "$root/ld-linux.so.2" ]; then
        machine i686 i686-unknown-linux-gnu i686-linux-gnu-gcc "$root/ld-linux.so.2" --library-path "$root"
    else
        machine i686 i686-unknown-linux-gnu i686-linux-gnu-gcc qemu-i386 -L /usr/i686-linux-gnu
    fi
}

# Some versions of qemu (7.2 is one) compute MDEBR, the product of two f32 in f64, wrong, which is all
# that the logarithm and the sines of torch's generator for the CPU consist of.
mdebr_is_wrong() {
    local program
    program=$(mktemp)
    s390x-linux-gnu-gcc -O1 -x c -o "$program" - << 'END' || return 1
int main(void) {
    volatile float a = 1.5f, b = 2.5f;
    union { double whole; float parts[2]; } first;
    first.whole = 0;
    first.parts[0] = a;
    double product = first.whole;
    float second = b;
    __asm__("mdebr %0,%1" : "+f"(product) : "f"(second));
    return product == 3.75 ? 0 : 1;
}
END
    ! qemu-s390x -L /usr/s390x-linux-gnu "$program"
}

s390x() {
    if has s390x-linux-gnu-gcc && has qemu-s390x && mdebr_is_wrong; then
        printf '== s390x: this qemu multiplies wrong (MDEBR); without the lines "noise: torch"\n'
        export GOLDEN_WITHOUT="noise: torch"
    fi
    machine s390x s390x-unknown-linux-gnu s390x-linux-gnu-gcc qemu-s390x -L /usr/s390x-linux-gnu
    unset GOLDEN_WITHOUT
}

for name in ${*:-host features i686 aarch64 s390x wasm32}; do
    case $name in
        # Every instruction set of this machine, with threads.
        host) golden host ;;
        # Without threads, and without any feature.
        features)
            golden "host, without rayon" --no-default-features --features diffusers,half,serde
            golden "host, no feature" --no-default-features
            ;;
        i686) i686 ;;
        aarch64) machine aarch64 aarch64-unknown-linux-gnu aarch64-linux-gnu-gcc qemu-aarch64 -L /usr/aarch64-linux-gnu ;;
        s390x) s390x ;;
        wasm32) machine wasm32 wasm32-wasip1 "" node --no-warnings "$PWD/reliability/machines/wasi.mjs" ;;
        *) printf 'unknown: %s\n' "$name"; exit 2 ;;
    esac
done
if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
fi
