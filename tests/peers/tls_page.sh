#!/usr/bin/env bash
# docs/tls.md as a newcomer follows it: the commands are taken from the page, so that page and test cannot differ.
#
# A block of the page is what its first line says: `toml` is manifold.toml; `sh serve` starts the node in the place of
# the one before; `sh wait` is a terminal that stays open; `sh` must succeed, and is typed again while the open
# terminal has seen nothing, which may not listen yet; `text` is what that terminal shows; `sh fails` must fail, at the
# latest when the node has looked at its files again.
#
# MANIFOLD_BIN names the executable. Prints one line a check; ends with 1 if one failed.
set -uo pipefail

readonly patience_secs=60
page=$(realpath "$(dirname "$0")/../../docs/tls.md")
bin=$(realpath "$MANIFOLD_BIN")
folder=$(mktemp -d)
failures=0
node=""
waiting=""

finish() {
    [[ -n $waiting ]] && kill "$waiting" 2>/dev/null
    [[ -n $node ]] && kill "$node" 2>/dev/null
    rm -rf "$folder"
}
trap finish EXIT

ok() { echo "ok   $1"; }

fail() { # what, file with what was said
    echo "FAIL $1: $(tail -n 5 "$2" 2>/dev/null | tr '\n' ' ')"
    failures=$((failures + 1))
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

port=$(free_port)
plain=$(free_port)
export PATH="${bin%/*}:$PATH"
export MANIFOLD_URL="mqtt://127.0.0.1:$plain"
export MANIFOLD__LISTEN__MQTT="127.0.0.1:$plain" MANIFOLD__LISTEN__WS="127.0.0.1:0" MANIFOLD__LISTEN__HTTP="127.0.0.1:0"
cd "$folder" || exit 1

stop_node() {
    [[ -n $node ]] || return 0
    kill -INT "$node"
    wait "$node"
    node=""
}

serve() { # file of the block
    stop_node
    # As one process, so that a signal reaches the node itself.
    sed -E 's/(^| )manifold /\1exec manifold /' "$1" >serve.sh
    sed -i -E 's/^([A-Z_]+=[^ ]+) exec /export \1; exec /' serve.sh
    bash serve.sh >node.log 2>&1 &
    node=$!
    local end=$((SECONDS + patience_secs))
    until grep -q 'ready startup_ms' node.log; do
        if ((SECONDS >= end)) || ! kill -0 "$node" 2>/dev/null; then
            fail "the node starts" node.log
            exit 1
        fi
        sleep 0.1
    done
    ok "the node starts"
}

wait_open() { # file of the block
    # shellcheck disable=SC1090
    (eval "exec $(cat "$1")") >open.out 2>&1 &
    waiting=$!
}

try_until() { # 0 or 1: what a block has to end with; the block; what to call it
    local end=$((SECONDS + patience_secs)) code
    while true; do
        timeout "$patience_secs" bash -e "$2" >said 2>&1
        code=$?
        if (($1 == 0)) && ((code != 0)); then
            break
        fi
        if (($1 == 1)) && ((code != 0)); then
            ok "fails, as it should: $3"
            return
        fi
        if (($1 == 0)) && { [[ -z $waiting ]] || ! kill -0 "$waiting" 2>/dev/null; }; then
            ok "$3"
            return
        fi
        ((SECONDS >= end)) && break
        sleep 1
    done
    fail "$3" said
}

shows() { # file with the lines
    wait "$waiting" 2>/dev/null
    waiting=""
    if [[ $(cat open.out) == "$(cat "$1")" ]]; then
        ok "the open terminal shows: $(cat "$1")"
    else
        fail "the open terminal shows: $(cat "$1")" open.out
    fi
}

# One file for each block, named by its number and its first line.
mkdir blocks
awk '
    /^```/ && !inside { inside = 1; kind = substr($0, 4); gsub(" ", "-", kind); number++
                        file = sprintf("blocks/%02d.%s", number, kind); printf "" > file; next }
    /^```/ { inside = 0; close(file); next }
    inside { print > file }
' "$page"
sed -i "s/8883/$port/g" blocks/*

for block in blocks/*; do
    name=$(head -n 1 "$block" | cut -c 1-70)
    case ${block##*.} in
        toml) cp "$block" manifold.toml ;;
        sh-serve) serve "$block" ;;
        sh-wait) wait_open "$block" ;;
        sh) try_until 0 "$block" "$name" ;;
        sh-fails) try_until 1 "$block" "$name" ;;
        text) shows "$block" ;;
        *) fail "no such kind of block: $block" "$block" ;;
    esac
done
stop_node
if (($(ls blocks | wc -l) < 15)); then
    fail "the page has its blocks" /dev/null
fi
exit $((failures > 0))
