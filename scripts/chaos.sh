#!/bin/bash
# The exactly-once tests with many faults, also at the named places of common/src/faults.rs, where only
# binaries with the feature `faults` die. Says how many of each kind have landed.
#
#   TIDEMILL_CHAOS_FAULTS   in each of the four tests (80 unless set)
#   TIDEMILL_CHAOS_SEED     their order (by the clock unless set)
set -euo pipefail
cd "$(dirname "$0")/.."
CARGO="${CARGO:-cargo}"
export TIDEMILL_CHAOS_FAULTS="${TIDEMILL_CHAOS_FAULTS:-80}"
export TIDEMILL_CHAOS_SEED="${TIDEMILL_CHAOS_SEED:-$(date +%s)}"
export TIDEMILL_CHAOS_PLACES=1
# The binary that is left behind does not die at any place.
trap '"$CARGO" build --release -p tidemill-cli 2>/dev/null' EXIT
"$CARGO" build --release --features faults -p tidemill-cli
echo "seed $TIDEMILL_CHAOS_SEED"
log=$(mktemp)
"$CARGO" test --release -p tidemill-tests --test exactly_once -- --test-threads 1 2>&1 | tee "$log"
landed=$(sed -n 's/.*: \([0-9]*\) faults landed.*/\1/p' "$log" | awk '{ sum += $1 } END { print sum + 0 }')
rm -f "$log"
echo "$landed faults landed on processes"
