#!/usr/bin/env bash
# The commands that `manifold demo` prints, run as they stand with mosquitto_sub and mosquitto_pub.
#
# MANIFOLD_BIN names the executable. Prints one line a check; ends with 1 if one failed.
set -uo pipefail

readonly patience_secs=30
bin=$(realpath "$MANIFOLD_BIN")
folder=$(mktemp -d)
failures=0
children=()

finish() {
    for child in "${children[@]}"; do kill "$child" 2>/dev/null; done
    rm -rf "$folder"
}
trap finish EXIT

check() { # what, then a command that succeeds if it is right
    local what=$1
    shift
    if "$@" >"$folder/check" 2>&1; then
        echo "ok   $what"
    else
        echo "FAIL $what: $(tr '\n' ' ' <"$folder/check")"
        failures=$((failures + 1))
    fi
}

appears() { # pattern, file: waits until a line of the file matches
    local end=$((SECONDS + patience_secs))
    until grep -Eq -- "$1" "$2"; do
        if ((SECONDS >= end)); then
            echo "no line of ${2##*/} matches $1; it ends:"
            tail -n 5 "$2"
            return 1
        fi
        sleep 0.1
    done
}

"$bin" demo >"$folder/page" 2>"$folder/log" &
demo=$!
children+=("$demo")
check "the demo is ready and prints its commands" appears '^Ctrl-C ends' "$folder/page"
grep -E '^(mosquitto_(sub|pub)|MANIFOLD_SECRET=)' "$folder/page" >"$folder/commands"
check "it prints at least four commands" test "$(wc -l <"$folder/commands")" -ge 4

# Those who wait stay open while the others are run, as in terminals side by side.
number=0
while IFS= read -r command; do
    number=$((number + 1))
    bash -c "exec $command" >"$folder/sub$number" 2>&1 &
    children+=("$!")
done < <(grep '^mosquitto_sub' "$folder/commands")
check "watching the namespace shows the plant" appears '_raw/level \{"v":' "$folder/sub1"

export PATH="${bin%/*}:$PATH"
while IFS= read -r command; do
    name=$(sed -E "s/ -[hpuP] [^ ]+//g; s/^MANIFOLD_SECRET=[^ ]+ //" <<<"$command")
    check "$name" timeout "$patience_secs" bash -c "$command"
    cat "$folder/check" >>"$folder/output"
done < <(grep -v '^mosquitto_sub' "$folder/commands")

check "the valve is where it was written to" \
    appears 'valve1/_raw/position_setpoint \{"v":25(\.0)?,' "$folder/sub1"
check "what the device reports is a value" \
    appears 'boiler7/_raw/temperature \{"v":71\.5,' "$folder/sub1"
check "the device hears what is wanted of it" appears '"setpoint":80' "$folder/sub2"
check "the platform lists the device" grep -q boiler7 "$folder/output"

kill -INT "$demo"
wait "$demo"
check "Ctrl-C ends the demo cleanly" test $? -eq 0
exit $((failures > 0))
