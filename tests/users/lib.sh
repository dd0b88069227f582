# What the test scripts beside this file share: programs that are started, watched and stopped, and the runner.
# A script is called with the build folder, and perhaps names of tests. It defines functions test_NAME, which run in the
# order of the file, and ends with `run_tests "$@"`.
# Each wait is for an event (a line, an exit, what the peer receives), under a limit that no healthy run comes near.
# shellcheck shell=bash

set -u
limit_s=30
build=$(cd "$1" && pwd) || exit
shift # the caller's arguments: what is left are names
scratch=$(mktemp -d "${TMPDIR:-/tmp}/weir-users.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# What differs where the programs are those of Windows. Then a build of the same for this system is in native/.
system=linux
native=$build
stop_signal=TERM
line_end=
declare -A code=([EACCES]=13 [EMFILE]=24 [EADDRINUSE]=98 [EADDRNOTAVAIL]=99 [ECONNREFUSED]=111) # the system's own
# shellcheck disable=SC2034 # used by those who source this
if [ -d "$build/native" ]; then
    system=windows
    native=$build/native
    stop_signal=INT # arrives as Ctrl-C; any other ends a program in Wine outright
    line_end=$'\r'
    code=([EADDRINUSE]=10048 [EADDRNOTAVAIL]=10049 [ECONNREFUSED]=10061)
    limit_s=120 # all programs in Wine wait for its one server
fi
peer=$native/tests/users/weir_peer
wine=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../cmake" && pwd)/wine

declare -A pids=() outputs=() # of what `start` started, by name

fail() {
    printf '%s\n' "$*" >"$scratch/why"
    exit 1
}

skip() {
    printf '%s\n' "$*" >"$scratch/why"
    exit 77
}

# not_on_windows WHY: skips the test there.
not_on_windows() {
    [ "$system" != windows ] || skip "$1"
}

# commands FOLDER [TO]: makes each program of Windows in FOLDER a command of TO, by its name without .exe. The command
# becomes Wine's process of the program, so that a signal to it reaches the program.
commands() {
    local program to=${2:-$1}
    mkdir -p "$to"
    for program in "$1"/*.exe; do
        [ -e "$program" ] || continue # FOLDER has those of this system
        printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$wine" "$program" >"$to/$(basename "$program" .exe)"
        chmod +x "$to/$(basename "$program" .exe)"
    done
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
    local left until=$((SECONDS + limit_s))
    while left=$((until - SECONDS)) && ((left > 0)) && IFS= read -r -t "$left" -u "${outputs[$1]}" line; do
        line=${line%"$line_end"}
        printf '%s: %s\n' "$1" "$line"
        # shellcheck disable=SC2053 # a glob on purpose
        [[ $line == $2 ]] && return
    done
    fail "$1 did not print '$2'"
}

# wait_exit NAME STATUS...: waits until NAME has ended, which closes its output, with one of those.
wait_exit() {
    local line left read_status=142 until=$((SECONDS + limit_s)) # as of a read that was too late
    while left=$((until - SECONDS)) && ((left > 0)); do
        IFS= read -r -t "$left" -u "${outputs[$1]}" line
        read_status=$?
        ((read_status == 0)) || break
        printf '%s: %s\n' "$1" "${line%"$line_end"}"
    done
    ((read_status == 1)) || fail "$1 did not end"
    wait "${pids[$1]}"
    local status=$?
    unset "pids[$1]"
    [[ " ${*:2} " == *" $status "* ]] || fail "$1 ended with $status instead of ${*:2}"
}

# stop NAME [SIGNAL]: asks it to stop, which a server of weir's does in good order.
stop() {
    kill -s "${2:-$stop_signal}" "${pids[$1]}"
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
    output=${output//"$line_end"/}
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
