#!/usr/bin/env bash
# Does the TWS API answer? Usage: tws_api.sh PORT [SECONDS]
#
# An open port proves nothing here: socat accepts before IB Gateway listens, and IB Gateway accepts and says nothing
# while a dialog waits for somebody. So this does what a client does: the handshake, the start-up message, and then it
# waits for the managed accounts (message 15), which come only to a client that was let in by a gateway that is logged in.
#
# bash and coreutils alone, because that is what the gateway images have. It runs inside the gateway's container.
# HEALTHCHECK_CLIENT_ID (default 9099) is the client id it uses for that moment: no program may have the same one.
set -euo pipefail

port=${1:?usage: tws_api.sh PORT [SECONDS]}
seconds=${2:-10}
client_id=${HEALTHCHECK_CLIENT_ID:-9099}

# One time limit over everything: each read below may block for as long as the other side likes.
if [[ -z ${TWS_API_CHECK_LIMITED:-} ]]; then
    TWS_API_CHECK_LIMITED=1 exec timeout "$seconds" bash "$0" "$port" "$seconds"
fi

# The next message of descriptor 3, its NULs shown as "|". Lengths are the other side's word, so they are bounded.
message() {
    local length
    length=$((16#$(head -c 4 <&3 | od -An -v -tx1 | tr -d ' \n')))
    ((length > 0 && length < 1000000)) || { echo "not the TWS API: a message of $length bytes" >&2; return 1; }
    head -c "$length" <&3 | tr '\0' '|'
}

exec 3<>"/dev/tcp/127.0.0.1/$port"

printf 'API\0\0\0\0\tv157..157' >&3
version=$(message)
[[ $version =~ ^[0-9]+\| ]] || { echo "not the TWS API: $version" >&2; exit 1; }

# START_API, version 2, client id, no optional capabilities. Its length is below 256 for any client id.
body=$((3 + 2 + ${#client_id} + 1 + 1))
printf "\\0\\0\\0\\x$(printf '%02x' "$body")71\\0002\\000%s\\000\\000" "$client_id" >&3

for _ in {1..50}; do
    case $(message) in
        "15|"*)
            echo "the API answers on port $port, server version ${version%%|*}"
            exit 0
            ;;
    esac
done
echo "the API on port $port told no account" >&2
exit 1
