# What the test scripts beside this file share: programs that are started, watched and stopped, and the runner.
# A script is called with the build folder, and perhaps names of tests. It defines functions test_NAME, which run in the
# order of the file, and ends with `run_tests "$@"`.
# Each wait is for an event (a line, an exit, what the peer receives), under a limit that no healthy run comes near.
# shellcheck shell=bash

set -u
limit_s=30
build=$(cd "$1" && pwd) || exit
shift # the caller's arguments: what is left are names
peer=$build/tests/users/weir_peer
scratch=$(mktemp -d "${TMPDIR:-/tmp}/weir-users.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

declare -A pids=() outputs=() # of what `start` started, by name

fail() {
    printf '%s\n' "$*" >"$scratch/why"
    exit 1
}

skip() {
    printf '%s\n' "$*" >"$scratch/why"
    exit 77
}

# start NAME COMMAND...: runs COMMAND in the background. Job control is on for a moment because the shell would
# otherwise start it with SIGINT ignored, as no terminal does.
start() {
    local name=$1 output
    shift
    mkfifo "$name.output"
    set -m
    "$@" >"$name.output" 2>&1 &
    pids[$name]=$!
    set +m
    exec {output}<"$name.output"
    rm "$name.output" # so that the name is free again
    outputs[$name]=$output
}

# wait_line NAME GLOB: waits for a line of NAME's output, and leaves it in $line.
wait_line() {
    while IFS= read -r -t "$limit_s" -u "${outputs[$1]}" line; do
        printf '%s: %s\n' "$1" "$line"
        # shellcheck disable=SC2053 # a glob on purpose
        [[ $line == $2 ]] && return
    done
    fail "$1 did not print '$2'"
}

# wait_exit NAME STATUS: waits until NAME has ended, which closes its output, with that status.
wait_exit() {
    local line read_status
    while IFS= read -r -t "$limit_s" -u "${outputs[$1]}" line; read_status=$?; ((read_status == 0)); do
        printf '%s: %s\n' "$1" "$line"
    done
    ((read_status == 1)) || fail "$1 did not end"
    wait "${pids[$1]}"
    local status=$?
    unset "pids[$1]"
    [ "$status" -eq "$2" ] || fail "$1 ended with $status instead of $2"
}

# stop NAME [SIGNAL]: asks it to stop, which a server of weir's does in good order.
stop() {
    kill -s "${2:-TERM}" "${pids[$1]}"
    wait_exit "$1" 0
}

stop_all() {
    local name
    for name in "${!pids[@]}"; do kill -s KILL "${pids[$name]}" 2>/dev/null; done
}

# peer STEP...: the other end of a connection; peer/peer.c lists the steps.
peer() {
    local said
    said=$("$peer" "$@" 2>&1) || fail "$said"
}

# run COMMAND...: leaves $output, both streams, and $status.
run() {
    printf '+ %s\n' "$*"
    output=$(timeout --kill-after=1 "$limit_s" "$@" 2>&1)
    status=$?
}

# expect STATUS TEXT COMMAND...: it ends with that status and prints exactly that.
expect() {
    run "${@:3}"
    [[ $status -eq $1 && $output == "$2" ]] || fail "'${*:3}' ended with $status and said '$output'"
}

# expect_like STATUS GLOB COMMAND...: the same, with a pattern.
expect_like() {
    run "${@:3}"
    # shellcheck disable=SC2053
    [[ $status -eq $1 && $output == $2 ]] || fail "'${*:3}' ended with $status and said '$output'"
}

# run_tests [NAME...]: all of the script's, or those named, each in a shell and a folder of its own.
run_tests() {
    local name passed=0 failed=0 skipped=0
    # shellcheck disable=SC2046 # names have no spaces
    [ $# -gt 0 ] || set -- $(sed -n 's/^test_\([a-z0-9_]*\)() {$/\1/p' "$0")
    for name; do
        mkdir "$scratch/$name"
        (cd "$scratch/$name" && trap stop_all EXIT && "test_$name") >"$scratch/log" 2>&1
        case $? in
        0)
            passed=$((passed + 1))
            echo "ok $name"
            ;;
        77)
            skipped=$((skipped + 1))
            echo "skipped $name: $(cat "$scratch/why")"
            ;;
        *)
            failed=$((failed + 1))
            echo "not ok $name: $(cat "$scratch/why")"
            sed 's/^/    /' "$scratch/log" >&2
            ;;
        esac
        rm -f "$scratch/why"
    done
    echo "summary: $passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}
