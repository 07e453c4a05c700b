#!/usr/bin/env bash
# The whole proof with MPI: `examples/shards/mpi.sh`, from anywhere. Words behind it go to cargo: `mpi.sh --release`.
# Needs mpirun, MPI's headers and libclang (README), and a Rust toolchain.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-target/foreign}
cargo build --locked --features mpi --manifest-path examples/shards/Cargo.toml --target-dir "$target" "$@"
profile=debug
for word in "$@"; do if [ "$word" = --release ]; then profile=release; fi; done
shards=$(realpath "$target")/$profile/shards

work=$(mktemp -d)
# Where the script fails, ranks may still be at work.
trap 'kill $(jobs -p) 2> /dev/null || true; wait; rm -rf "$work"' EXIT
cd "$work"

options=(--oversubscribe)
# mpirun asks root to say that this is meant.
if [ "$(id -u)" = 0 ]; then options+=(--allow-run-as-root); fi
ranks() { local count=$1; shift; mpirun "${options[@]}" -n "$count" "$@"; }
# In the background mpirun itself takes the place of the subshell: it is then the process to wait for, and to end.
started() { local count=$1; shift; exec mpirun "${options[@]}" -n "$count" "$@"; }

step() { printf '\n== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
same() { [ "$1" = "$2" ] || fail "$3: $1 is not $2"; }
hash() { "$shards" check --out "$1" | cut -d ' ' -f 1; }
finished() { "$shards" status --out "$1" | sed -n 's/^finished = \([0-9]*\) of.*/\1/p'; }
# The sum, or the largest, of a number over all reports of a log.
sum() { awk -v name="$2" '/ rows /{ for (i = 1; i < NF; i++) if ($i == name) s += $(i + 1) } END { print s + 0 }' "$1"; }
largest() {
    awk -v name="$2" '/ rows /{ for (i = 1; i < NF; i++) if ($i == name && $(i + 1) + 0 > m) m = $(i + 1) } END { print m + 0 }' "$1"
}

step "1, 2 and 4 ranks, the file and the array that MPI gathers: the hash of one process"
job=(--samples 1001 --steps 8 --seed 7)
"$shards" sample --out one.npy "${job[@]}"
one=$(hash one.npy)
echo "$one  one process without MPI"
for count in 1 2 4; do
    ranks "$count" "$shards" sample --out "$count.npy" "${job[@]}" --mpi --gather --batch 100 | tee "$count.log"
    same "$(hash "$count.npy")" "$one" "$count ranks"
    same "$(sed -n 's/ *gathered at rank 0$//p' "$count.log")" "$one" "gathered from $count ranks"
    cmp one.npy "$count.npy"
done

step "more ranks than samples"
"$shards" sample --out few.npy --samples 3 --steps 4
ranks 4 "$shards" sample --out few-4.npy --samples 3 --steps 4 --mpi --gather
cmp few.npy few-4.npy

step "another job on the same file is refused at every rank"
if ranks 2 "$shards" sample --out one.npy --samples 1001 --steps 9 --mpi > other.log 2>&1; then fail "not refused"; fi
same "$(grep -c 'steps = 8 there, 9 here' other.log)" 2 "ranks that refuse"
same "$(hash one.npy)" "$one" "the file after that"

step "a rank that cannot read its rows for the gather: no rank waits for it"
job=(--samples 800 --steps 4 --mpi --gather)
# Rank 1 works on a file of its own, which is gone when its rows are finished. Rank 0 is slow: a row at a time.
started 1 "$shards" sample --out here.npy "${job[@]}" --batch 1 : \
    -n 1 "$shards" sample --out gone.npy "${job[@]}" > gather.log 2>&1 &
gather=$!
for _ in $(seq 2000); do
    if [ "$("$shards" status --out gone.npy 2> /dev/null | grep -c '^finished = 400 ')" = 1 ]; then break; fi
    sleep 0.02
done
rm gone.npy
if [ "$(finished here.npy)" -ge 400 ]; then fail "rank 0 was not slow enough"; fi
for _ in $(seq 1200); do
    if ! kill -0 "$gather" 2> /dev/null; then break; fi
    sleep 0.05
done
if kill -0 "$gather" 2> /dev/null; then fail "the ranks wait for each other"; fi
if wait "$gather"; then fail "not noticed"; fi
grep 'rank 1: opening gone.npy' gather.log
# At one rank at least: mpirun ends the other as soon as the first has ended.
grep 'ranks failed: \[1\]' gather.log

job=(--samples 2000 --steps 8 --seed 7)
"$shards" sample --out more.npy "${job[@]}"
one=$(hash more.npy)

# Waits until rank 2 of 4 has finished a few batches, and kills it; $1: file, $2: log.
kill_rank_2() {
    local log="$1.journal/from-1000-0.log" process
    for _ in $(seq 2000); do
        process=$(sed -n 's/^rank 2.* is process //p' "$2" 2> /dev/null || true)
        if [ -n "$process" ] && [ -e "$log" ] && [ "$(wc -l < "$log")" -ge 3 ]; then break; fi
        sleep 0.02
    done
    kill -9 "$process" || fail "rank 2 had come to its end before it was killed"
}

step "a rank is killed: Open MPI ends all ranks, what was finished stays, and a second run does the rest"
started 4 "$shards" sample --out killed.npy "${job[@]}" --mpi --batch 10 > killed.log 2>&1 &
kill_rank_2 killed.npy killed.log
if wait $!; then fail "mpirun did not notice"; fi
kept=$(finished killed.npy)
echo "finished when the ranks were ended: $kept of 2000"
if [ "$kept" -lt 30 ] || [ "$kept" -ge 2000 ]; then fail "$kept rows"; fi
if "$shards" check --out killed.npy; then fail "not noticed"; fi
ranks 4 "$shards" sample --out killed.npy "${job[@]}" --mpi | tee again.log
same "$(sum again.log found)" "$kept" "rows found by the second run"
same "$(sum again.log sampled)" $((2000 - kept)) "rows sampled by the second run"
same "$(hash killed.npy)" "$one" "after the second run"

step "mpirun as a launcher with --enable-recovery: the other ranks go on, and the lost one is redone alone"
cat > rank.sh <<'END'
echo "rank $OMPI_COMM_WORLD_RANK is process $$"
exec "$@" --shard "$OMPI_COMM_WORLD_RANK/$OMPI_COMM_WORLD_SIZE"
END
launched() {
    started 4 --enable-recovery bash rank.sh "$shards" sample --out alone.npy "${job[@]}" --batch 10 > alone.log 2>&1 &
    kill_rank_2 alone.npy alone.log
    wait $! || fail "mpirun tells that a rank was killed, which it did not"
    grep '^shard' alone.log
    kept=$(finished alone.npy)
    "$shards" status --out alone.npy | tail -n 1 | grep '^missing = 1[0-9]*\.\.1500$' || fail "others lost rows too"
    "$shards" resume --out alone.npy --shard 2/4 | tee again.log
    same "$(sum again.log sampled)" $((2000 - kept)) "rows sampled by the lost rank"
    same "$(hash alone.npy)" "$one" "after the lost rank was redone"
}
# With --mpi the others finish their rows too, but mpirun does not end: their report at the end waits for rank 2.
waiting() {
    started 4 --enable-recovery "$shards" sample --out waiting.npy "${job[@]}" --mpi --batch 10 > waiting.log 2>&1 &
    local mpirun=$!
    kill_rank_2 waiting.npy waiting.log
    for _ in $(seq 2000); do
        if "$shards" status --out waiting.npy | tail -n 1 | grep '^missing = 1[0-9]*\.\.1500$'; then break; fi
        sleep 0.02
    done
    sleep 3
    kill "$mpirun" || fail "mpirun had ended, though rank 2 was killed"
    wait "$mpirun" || true
    "$shards" resume --out waiting.npy --shard 2/4
    same "$(hash waiting.npy)" "$one" "after the lost rank was redone"
}
if mpirun --version | grep -q 'Open MPI) 4'; then
    launched
    waiting
else
    echo "not tried: the option is Open MPI 4's"
fi

step "memory of a rank: its share where the batch is the share, else a batch"
memory() { ranks "$1" "$shards" sample --out "memory-$*.npy" --samples "$2" --sampler DDIM --steps 1 --mpi --batch "$3" > memory.log; }
echo "| samples | ranks | batch | share, KiB | peak, KiB | above a rank with a share of 256 |"
echo "|---|---|---|---|---|---|"
row() {
    local samples=$2 own above
    memory "$1" $((256 * $1)) 256
    own=$(largest memory.log peak_kib)
    memory "$@"
    above=$(($(largest memory.log peak_kib) - own))
    echo "| $samples | $1 | $3 | $(largest memory.log share_kib) | $(largest memory.log peak_kib) | $above |"
    last=$above
}
row 1 16000 16000; alone=$last
row 2 16000 16000; half=$last
row 4 16000 16000; quarter=$last
row 1 16000 256; batch=$last
# To a tenth of what one rank takes.
if [ $((10 * half)) -gt $((6 * alone)) ]; then fail "two ranks take $half each, one $alone"; fi
if [ $((20 * quarter)) -gt $((7 * alone)) ]; then fail "four ranks take $quarter each, one $alone"; fi
if [ $((10 * batch)) -gt "$alone" ]; then fail "in batches $batch, at once $alone"; fi

step "cost against samples and ranks, on $(nproc) cores"
echo "| samples | ranks | seconds with mpirun's start | of the slowest rank's work | CPU ms a sample |"
echo "|---|---|---|---|---|"
for samples in 1000 4000; do
    for count in 1 2 4; do
        begin=$(date +%s%N)
        ranks "$count" "$shards" sample --out "cost-$samples-$count.npy" --samples "$samples" --steps 8 --mpi > cost.log
        wall=$(($(date +%s%N) - begin))
        awk -v n="$samples" -v c="$count" -v w="$wall" -v s="$(largest cost.log seconds)" -v u="$(sum cost.log cpu)" \
            'BEGIN { printf "| %d | %d | %.2f | %.2f | %.3f |\n", n, c, w / 1e9, s, 1e3 * u / n }'
    done
done

printf '\nall as it should be\n'
