#!/usr/bin/env bash
# Checks of the code and of what it depends on, one a name; without a name those that need nothing
# but a stable toolchain. What a check needs and this machine lacks is said, and the check skipped.
#
#   reliability/checks.sh api            the public interface is docs/public-api.txt
#   reliability/checks.sh api-write      writes it anew
#   reliability/checks.sh licences       every dependency may be used with the crate's own licences
#   reliability/checks.sh duplicates     none of the crate's dependencies is there twice
#   reliability/checks.sh msrv           the crate and its tests compile with Cargo.toml's rust-version
#   reliability/checks.sh minimal        and the crate with the oldest dependencies it says it takes,
#                                        which give the golden hashes too, and with the oldest of those
#                                        that they say they take
#   reliability/checks.sh coverage       the lines of src that the tests reach: 97 % or more
#   reliability/checks.sh miri [FILTER]  the unit tests in miri, at the portable level
#   reliability/checks.sh miri-avx2 [FILTER]
#   reliability/checks.sh asan           the golden hashes with AddressSanitizer: every kernel, at every
#                                        instruction set, halves, threads
#   reliability/checks.sh asan-suite     unit tests and those of whole runs with it
set -uo pipefail
cd "$(dirname "$0")/.."
export CARGO_INCREMENTAL=0
export CARGO_PROFILE_TEST_OPT_LEVEL="${CARGO_PROFILE_TEST_OPT_LEVEL:-1}"
target="${CARGO_TARGET_DIR:-target}"
listing=docs/public-api.txt

say() { printf '== %s\n' "$*"; }
has_toolchain() { command -v rustup > /dev/null && rustup toolchain list | grep -q "^$1"; }
has_component() { rustup "+$1" component list --installed 2> /dev/null | grep -q "^$2"; }

# The listing, on standard output.
listed() {
    # The flags of CI, so that nothing is built twice.
    RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --no-deps --all-features >&2 &&
        cargo run --quiet --locked -p public-api -- "$target/doc/diffusion_sampler"
}

api() {
    local found
    found=$(mktemp)
    listed > "$found" || return 1
    if ! diff -u "$listing" "$found"; then
        say "the public interface is not that of $listing; if it is meant to be: reliability/checks.sh api-write"
        return 1
    fi
    say "api: the $(wc -l < "$listing") lines of $listing"
}

api_write() {
    local found
    found=$(mktemp)
    listed > "$found" && cp "$found" "$listing" && say "written: $listing, $(wc -l < "$listing") lines"
}

# Documentation tests are not counted. Small functions are copied into the tests that call them, where
# the tool does not see them: the compiler is told not to, by a flag that stable ones keep for nightly.
coverage() {
    if ! cargo llvm-cov --version > /dev/null 2>&1; then
        say "coverage: skipped (cargo install cargo-llvm-cov)"
        return
    fi
    local report=$target/coverage.txt
    mkdir -p "$target"
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zcross-crate-inline-threshold=never" \
        cargo llvm-cov --locked --all-features --tests -p diffusion-sampler \
        --summary-only --fail-under-lines 97 > "$report"
    local result=$?
    # The columns of the last line: regions, functions, lines; of each all, missed and the share.
    awk '$1 == "TOTAL" { print "== coverage: " $8 - $9 " of " $8 " lines, " $10 }' "$report"
    return $result
}

# What reaches a user's build: no development dependencies, on any platform.
dependencies() {
    cargo tree --locked -p diffusion-sampler -e normal,build --target all "$@"
}

licences() {
    dependencies --all-features --prefix none -f '{p}|{l}' | sed 's/ (\*)$//' | sort -u | awk -F'|' '
        BEGIN {
            split("MIT Apache-2.0 BSD-2-Clause BSD-3-Clause ISC Zlib Unicode-3.0 0BSD CC0-1.0 Unlicense", names, " ")
            for (i in names) allowed[names[i]] = 1
        }
        {
            expression = $2
            gsub(/[()]/, "", expression)
            gsub(/ *\/ */, " OR ", expression)
            parts = split(expression, every, / AND /)
            for (i = 1; i <= parts; i++) {
                count = split(every[i], any, / OR /)
                good = 0
                for (j = 1; j <= count; j++) if (any[j] in allowed) good = 1
                if (!good) { print "licence not known to be free: " $1 ": " $2; bad = 1 }
            }
        }
        END { if (!bad) print "== licences: " NR " packages, all of them free"; exit bad }'
}

# Two versions of one package reach a user only through what is not the crate's choice: the syn of two
# derives, which is not in the program, and with the feature proptest its newer rand.
duplicates() {
    local found=""
    twice() { dependencies --duplicates --depth 0 --prefix none "$@" | sed 's/ v.*//' | sort -u | tr -d ' '; }
    found+=$(twice --features diffusers,half,rayon,serde | grep -vxE 'syn|')
    found+=$(twice --all-features | grep -vxE 'syn|rand|rand_core|')
    if [ -n "$found" ]; then
        say "there twice: $found"
        return 1
    fi
    say "duplicates: none but syn, and with the feature proptest rand and rand_core"
}

msrv() {
    local version
    version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    if ! has_toolchain "$version"; then
        say "msrv: skipped, no toolchain $version (rustup toolchain install $version)"
        return
    fi
    # Its name may have the patch version too.
    version=$(rustup toolchain list | grep -o "^${version//./\\.}[.0-9]*" | head -1)
    CARGO_TARGET_DIR="$target/msrv" cargo "+$version" check --quiet --locked --all-features --all-targets &&
        say "msrv: the crate, its tests, examples and benches compile with Rust $version"
}

# A copy without development dependencies, which only ever raise the others' versions. What the oldest
# serde derives for another's type does not read all its fields.
minimal() {
    if ! has_toolchain nightly; then
        say "minimal: skipped, no nightly toolchain (it chooses the versions; stable compiles)"
        return
    fi
    local copy tests
    copy=$(mktemp -d)
    mkdir -p "$copy/tests"
    cp -r src docs README.md "$copy"
    cp -r tests/golden tests/diffusers tests/stored tests/data "$copy/tests"
    awk '/^\[/ { keep = 1 } /^\[workspace\]|^\[dev-dependencies\]|^\[\[/ { keep = 0 } keep' Cargo.toml > "$copy/Cargo.toml"
    tests=$(sed -n '/^\[dev-dependencies\]/,/^$/p' reliability/machines/Cargo.toml | grep -E '^(ciborium|postcard)')
    printf '\n[workspace]\n' >> "$copy/Cargo.toml"
    local -x RUSTFLAGS="-A dead_code -A unfulfilled_lint_expectations"
    (
        cd "$copy" &&
            cargo +nightly update --quiet -Z minimal-versions &&
            CARGO_TARGET_DIR="$copy/target" cargo check --quiet --all-features
    ) || { rm -rf "$copy" && return 1; }
    say "minimal: compiles with the oldest of all dependencies"
    # The test itself needs rand, serde and serde_json, which the crate has only as options.
    printf '\n[dev-dependencies]\n%s\n%s\n\n[[test]]\nname = "golden"\npath = "tests/golden/main.rs"\n' \
        "$tests" "$(grep -E '^(rand|serde|serde_json|half) =' Cargo.toml | sed 's/, optional = true//' | sort -u -t= -k1,1)" >> "$copy/Cargo.toml"
    (
        cd "$copy" &&
            cargo +nightly update --quiet -Z direct-minimal-versions &&
            CARGO_TARGET_DIR="$copy/target" cargo check --quiet --all-features &&
            CARGO_TARGET_DIR="$copy/target" cargo test --quiet --all-features --test golden
    ) && say "minimal: compiles with the oldest direct dependencies, and gives the golden hashes"
    local result=$?
    rm -rf "$copy"
    return $result
}

miri() {
    if ! has_toolchain nightly || ! has_component nightly miri; then
        say "miri: skipped (rustup +nightly component add miri rust-src)"
        return
    fi
    # Without rayon: crossbeam-epoch, which its threads start with, breaks the rules that miri checks
    # without flags. The crate's own unsafe code is the same.
    cargo +nightly miri test --locked --features diffusers,half,proptest,serde --lib -- "$@"
}

# sanitized ARGUMENT…
sanitized() {
    if ! has_toolchain nightly; then
        say "asan: skipped, no nightly toolchain"
        return
    fi
    RUSTFLAGS="-Zsanitizer=address" CARGO_TARGET_DIR="$target/asan" \
        cargo +nightly test --locked --target x86_64-unknown-linux-gnu "$@"
}

asan() { sanitized -p machines --test golden; }

asan_suite() {
    local test tests=()
    for test in half runs stored tensors threads; do tests+=(--test "$test"); done
    sanitized --all-features --lib "${tests[@]}"
}

case ${1:-} in
    "") licences && duplicates && api ;;
    api | licences | duplicates | msrv | minimal | coverage | asan) "$1" ;;
    api-write) api_write ;;
    asan-suite) asan_suite ;;
    miri) shift && miri "$@" ;;
    # is_x86_feature_detected! says in miri what the compiler was told.
    miri-avx2) shift && RUSTFLAGS="-C target-feature=+avx2,+f16c" CARGO_TARGET_DIR="$target/miri-avx2" miri "$@" ;;
    *) printf 'unknown: %s\n' "$1" && exit 2 ;;
esac
