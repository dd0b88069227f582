# The checks of the source, one function each, for `run` and `bite`. A check prints what is wrong, a line each with the
# file and line it is in, and nothing if all is well. It looks at the tree in the current folder. Sourced by bash.
# shellcheck shell=bash

# Name and meaning of each, in the order in which they run.
# shellcheck disable=SC2034 # used by those who source this
checks=(
    core_includes "core/ includes its own headers, those of platform/ that are for it, and ISO C"
    platform_includes "platform/ includes nothing of core/"
    outer_includes "bench/, docs/examples/ and tests/users/ include no internals"
    system_names "core/ names no operating system and no backend"
    extensions "what MSVC shall compile uses an extension only where __GNUC__ is asked for"
    headers "public headers compile alone as C11 and as C++17"
    doc_comments "public functions have a comment that names them and says who may call them"
    proof "each test that docs/windows-proof.md or a guide names is there"
    translations "a translation has the headings, the tables and the code of its original"
    whitespace "no tabs, no spaces at the end of a line, a line end at the end of a file"
    length "C files have at most 620 lines"
    notes "nothing is left to do"
    format "clang-format changes nothing"
    tidy "clang-tidy finds nothing"
)

# files PATTERN...: those of the tree, by git's patterns; new ones too, unless they are ignored.
files() {
    git ls-files --cached --others --exclude-standard -- "$@" | while IFS= read -r file; do
        if [ -f "$file" ]; then printf '%s\n' "$file"; fi # not one that is deleted and not yet committed
    done
}

# includes PATTERN...: "file:line:<header>" or "file:line:\"header\"" for each #include in these files.
includes() {
    files "$@" | xargs -r grep -HnE '^[[:space:]]*#[[:space:]]*include' |
        sed -E 's/#[[:space:]]*include[[:space:]]*([<"][^>"]*[>"]).*/\1/; s/:[[:space:]]+/:/g'
}

# Of POSIX, Windows and the C library, core may use what ISO C defines without asking a system for anything. jemalloc is
# core/memory.c's alone.
check_core_includes() {
    local iso='assert|ctype|float|inttypes|limits|math|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib'
    includes 'core/*.[ch]' |
        grep -vE ":<($iso|stdnoreturn|string)\.h>$|:<weir/[a-z_]+\.h>$|:\"core/[a-z_]+\.h\"$" |
        grep -vE ':"platform/(cq|os|addr|memory|hints|sim|bug)\.h"$|^core/memory\.c:[0-9]+:<jemalloc/jemalloc\.h>$' |
        sed 's/$/  core must not include this/'
}

# weir/error.h and weir/export.h stand below platform/ and are its own.
check_platform_includes() {
    includes 'platform/*.[ch]' |
        grep -E ':"(core|bench|tests|docs)/|:"\.\./|:<weir/' | grep -vE ':<weir/(error|export)\.h>$' |
        sed 's/$/  platform must not include this/'
}

check_outer_includes() {
    includes 'bench/*.c' 'bench/*.h' 'bench/*.cpp' 'docs/examples/*' 'tests/users/*.[ch]' |
        grep -E '[<"]((\.\./)*(core|platform)/|\.\./\.\.)' | sed 's/$/  only weir'\''s public headers, <weir\/...>/'
}

check_system_names() {
    local names='_WIN(32|64)|__(linux|unix|APPLE|MINGW(32|64)|FreeBSD)__|__linux|_MSC_VER|[A-Z_]*(EPOLL|IOCP|URING)[A-Z_]*'
    files 'core/*.c' 'core/*.h' |
        xargs -r grep -HnE "^[[:space:]]*#[[:space:]]*(if|ifdef|ifndef|elif)\b.*\b($names)\b" |
        sed 's/$/  core must not know the system/'
}

# VLAs and the like are -Wpedantic's and -Wvla's to find; these are not, as they begin with two underscores.
check_extensions() {
    files 'core/*.[ch]' 'platform/*.h' 'platform/include/*.h' 'platform/common/*.[ch]' 'platform/iocp/*.[ch]' \
        'platform/windows/*.[ch]' | xargs -r awk '
        FNR == 1 { depth = guard = 0 } # guard: the depth of the #if that asks for __GNUC__
        /^[[:space:]]*#[[:space:]]*if/ { depth++ }
        /^[[:space:]]*#[[:space:]]*(if|elif|else)/ {
            if (guard == depth) guard = 0
            if (!guard && /defined\(__GNUC__\)/) guard = depth
        }
        /^[[:space:]]*#[[:space:]]*endif/ { if (guard == depth) guard = 0; depth-- }
        !guard && /__(attribute|builtin|extension|typeof|asm|int128|sync|atomic)|\(\{/ {
            print FILENAME ":" FNR ": an extension without a fallback"
        }'
}

check_headers() {
    local header compiler
    files 'core/include/weir/*.h' 'platform/include/weir/*.h' | while IFS= read -r header; do
        for compiler in "gcc -x c -std=c11" "clang -x c -std=c11" "g++ -x c++ -std=c++17" "clang++ -x c++ -std=c++17"; do
            # shellcheck disable=SC2086 # words
            printf '#include <weir/%s>\nint used;\n' "${header##*/}" |
                $compiler -Wall -Wextra -Wpedantic -Wconversion -Werror -fsyntax-only -Icore/include -Iplatform/include - \
                    2>&1 | sed "s|^|$compiler: |"
        done
    done
}

# A comment may serve several prototypes that follow each other; it begins with the first one's name, and names each.
check_doc_comments() {
    # shellcheck disable=SC2016 # it is awk's $0
    files 'core/include/weir/*.h' 'platform/include/weir/*.h' | xargs -r awk '
        FNR == 1 { comment = ""; open = 0 }
        /^\/\*/ { comment = ""; open = 1; started = FNR }
        open { comment = comment " " $0; if (/\*\//) open = 0; fresh = 1; next }
        /^WEIR_API/ {
            prototype = $0
            while (prototype !~ /;/ && (getline line) > 0) prototype = prototype " " line
            match(prototype, /[a-z0-9_]+\(/)
            name = substr(prototype, RSTART, RLENGTH - 1)
            at = FILENAME ":" FNR ": " name
            if (comment == "") print at ": has no comment"
            else {
                if (fresh && index(comment, " /* " name) != 1) print at ": its comment does not begin with its name"
                if (!index(comment, name)) print at ": its comment does not name it"
                if (comment !~ /\[(any|worker|owner)\]/) print at ": its comment says no [any], [worker] or [owner]"
            }
            fresh = 0
            next
        }
        { comment = "" }'
}

# A name of a test is long enough to be told from that of a file. One that ends in … stands for several.
check_proof() {
    local tests file line name
    tests=$(files 'tests/*' | xargs -r grep -hoE '^([A-Z_]*TEST[A-Z_]*|Test)\([a-z0-9_]+, [a-z0-9_]+|^test_[a-z0-9_]+' |
        sed -E 's/.*, |^test_//')
    # shellcheck disable=SC2016 # they are Markdown's
    files docs/windows-proof.md | xargs -r grep -noE '`[a-z0-9_]{15,}(`|…)' | tr -d '`' | while IFS=: read -r line name; do
        grep -qE "^${name/%…/.*}$" <<<"$tests" || echo "docs/windows-proof.md:$line: there is no test $name"
    done
    # In the guides it stands with its suite, as --filter wants it: conn/opens_then_has_messages_then_closes.
    tests=$(files 'tests/*.c' | xargs -r sed -nE 's/^([A-Z_]*TEST[A-Z_]*|Test)\(([a-z0-9_]+), ([a-z0-9_]+).*/\2\/\3/p')
    # shellcheck disable=SC2016
    files 'docs/guide/*.md' | xargs -r grep -HnoE '`[a-z0-9_]+/[a-z0-9_]{15,}`' | tr -d '`' | while IFS=: read -r file line name; do
        grep -qxF "$name" <<<"$tests" || echo "$file:$line: there is no test $name"
    done
}

# outline FILE: its code, and of its headings and tables only that they are there.
outline() {
    awk '/^```/ { code = !code; print; next }
         code { print; next }
         match($0, /^#+ /) { print substr($0, 1, RLENGTH) }
         /^\|/ { print "|" }' "$1"
}

check_translations() {
    local file original
    files '*.ko.md' | while IFS= read -r file; do
        original=${file%.ko.md}.md
        if [ ! -f "$original" ]; then
            echo "$file: there is no $original"
        else
            diff <(outline "$original") <(outline "$file") | sed -n "s|^[<>]|$file: differs from its original:|p"
        fi
    done
}

check_whitespace() {
    local file
    files '*.c' '*.h' '*.cpp' '*.txt' '*.cmake' '*.in' '*.json' '*.md' '*/run' '*.sh' | while IFS= read -r file; do
        grep -HnE '[[:space:]]+$' -- "$file" | sed 's/$/  ends with a space/'
        case $file in *.[ch] | *.cpp) grep -Hn "$(printf '\t')" -- "$file" | sed 's/$/  has a tab/' ;; esac
        if [ -s "$file" ] && [ -n "$(tail -c 1 -- "$file")" ]; then echo "$file: no line end at its end"; fi
    done
}

check_length() {
    files '*.c' '*.h' | xargs -r awk '
        { lines[FILENAME] = FNR }
        END { for (file in lines) if (lines[file] > 620) print file ": " lines[file] " lines; split it by its nouns" }'
}

# The words are written so that this file does not find itself.
check_notes() {
    files '*.c' '*.h' '*.cpp' '*.txt' '*.cmake' '*.md' '*.sh' '*/run' |
        xargs -r grep -HnwE 'TO''DO|FIX''ME|XX''X|HA''CK' | sed 's/$/  do it, or write an issue/'
}

# The programs in contract/ are embedders' own, in their own style.
check_format() {
    files '*.c' '*.h' '*.cpp' ':!tests/users/contract' | xargs -r clang-format --dry-run -Werror 2>&1 | grep -E ': (error|warning):'
}

# What clang was told when it compiled: from build/clang, which is configured here if nobody did it before. One file a
# process: in the second one of a process, clang-tidy 14 takes every va_list for uninitialised.
check_tidy() {
    tidy clang 'core|platform|bench|docs'
    # What Windows alone compiles, where its compiler is installed.
    ! command -v x86_64-w64-mingw32-gcc-posix >/dev/null ||
        tidy windows 'platform/iocp|platform/windows|bench/windows' --extra-arg=--target=x86_64-w64-windows-gnu
}

# tidy PRESET FOLDERS OPTION...
tidy() {
    local build=build/$1 folders=$2
    if [ ! -f "$build/compile_commands.json" ]; then
        mkdir -p build
        cmake --preset "$1" >build/style-cmake.log 2>&1 || cat build/style-cmake.log
    fi
    sed -nE 's/^ *"file": "(.*)",?$/\1/p' "$build/compile_commands.json" | grep -E "^$PWD/($folders)/" | sort -u |
        xargs -r -P "$(nproc)" -n 1 clang-tidy -p "$build" --quiet "${@:3}" 2>&1 | grep -E ': (error|warning):' | sort -u
}
