#!/bin/bash
# Breaks one promise after the other on purpose, and shows that a test notices each: by an assertion of
# its own, not by a crash. Prints a table; exits with 1 if a mutant survives.
#
#   scripts/mutants.sh [PROMISE...]     all of them unless some are named
#
# Promises are those of common/src/faults.rs, which only a build with the feature `faults` can break.
set -u
cd "$(dirname "$0")/.."
CARGO="${CARGO:-cargo}"
packages=(-p tidemill-common -p tidemill-state -p tidemill-connectors -p tidemill-taskmanager -p tidemill-jobmanager
    -p tidemill-tests -p tidemill-cli)
features=(--release --features faults)

# Promise, target and name of the test, and the file whose assertion must fail.
mutants() {
    cat <<'TABLE'
alignment --lib aligner::tests::bug_11_no_barrier_is_overtaken_or_mixed_up_in_any_interleaving taskmanager/src/aligner_tests.rs
alignment --test=simulator what_is_published_is_that_of_a_run_without_faults tests/simulator/main.rs
lease --test=executor bug_1_nothing_is_written_once_the_lease_has_run_out taskmanager/tests/executor.rs
stale-attempt --lib jdbc::tests::bug_1_a_zombie_changes_nothing connectors/src/jdbc/tests.rs
stale-answer --lib checkpoint::coordinator::tests::bug_29_answers_of_an_attempt_that_is_over_have_no_effect jobmanager/src/checkpoint/coordinator_tests.rs
commit-marker --test=simulator what_is_published_is_that_of_a_run_without_faults tests/simulator/main.rs
commit-marker --lib jdbc::tests::bug_17_rows_without_a_key_are_published_once_wherever_an_attempt_dies connectors/src/jdbc/tests.rs
commit-marker --test=kafka kafka connectors/tests/kafka.rs
sync-before-words --test=power bug_10_what_was_acknowledged_outlives_a_loss_of_power tests/power.rs
watermark-restore --test=simulator what_is_published_is_that_of_a_run_without_faults tests/simulator/main.rs
watermark-restore --lib operators::window::tests::restore::windows_do_not_fire_again_for_rows_that_were_late_before_the_break taskmanager/src/operators/window/tests/restore.rs
TABLE
}

log=$(mktemp)
# The binary that is left behind can break no promise.
trap 'rm -f "$log"; "$CARGO" build --release -p tidemill-cli 2>/dev/null' EXIT

# Runs one test; its output goes to $log.
run() {
    timeout 900 "$CARGO" test "${features[@]}" "${packages[@]}" "$1" -- --exact "$2" --nocapture > "$log" 2>&1
}

echo "building with planted faults" >&2
"$CARGO" build "${features[@]}" "${packages[@]}" >&2 || exit 1

status=0
printf '%-18s %-9s %s\n' promise mutant 'killed by'
while read -r promise target test file; do
    if [ $# -gt 0 ] && [[ " $* " != *" $promise "* ]]; then continue; fi
    export TIDEMILL_BROKEN_PROMISE=
    if ! run "$target" "$test" || ! grep -q 'test result: ok. 1 passed' "$log"; then
        printf '%-18s %-9s %s\n' "$promise" '?' "$test fails without any mutant"
        tail -20 "$log" >&2
        status=1
        continue
    fi
    if grep -q 'skipped:' "$log"; then
        printf '%-18s %-9s %s\n' "$promise" skipped "$test: $(grep -m1 -o 'skipped:.*' "$log")"
        continue
    fi
    export TIDEMILL_BROKEN_PROMISE=$promise
    if run "$target" "$test"; then
        verdict=SURVIVED
    elif grep -q 'test result: FAILED. 0 passed; 1 failed' "$log" && grep -q "panicked at $file" "$log"; then
        verdict=killed
    else
        verdict=CRASHED
    fi
    [ "$verdict" = killed ] || { status=1; tail -20 "$log" >&2; }
    printf '%-18s %-9s %s\n' "$promise" "$verdict" "$test ($file)"
    grep -A3 -m1 "panicked at $file" "$log" | tail -n +2 | cut -c1-160 | sed 's/^/    /'
done < <(mutants)
exit $status
