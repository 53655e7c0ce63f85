#!/usr/bin/env bash
# bash prepare.sh TEXT: a text file, a sentence a line -> corrupted and correct characters -> fairseq data in $NOISE/bin.
. "$(dirname "$0")/settings.sh"

[ $# -eq 1 ] || fail "usage: bash prepare.sh TEXT, a text file with a sentence a line"
if [ -e "$NOISE/bin/done" ]; then say "$NOISE/bin: done already"; exit 0; fi
mkdir -p "$NOISE"
python "$ROOT/scripts/prepare_spelling.py" "$1" "$NOISE/text" --overwrite --replace "$REPLACE" --length 10 "${PREPARE_FLAGS[@]}"
preprocess "$NOISE/bin" "$NOISE/text" noisy clean
