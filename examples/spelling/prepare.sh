#!/usr/bin/env bash
# bash prepare.sh TEXT: pieces of 10 characters, some of them replaced -> fairseq data in $RUNS/bin
. "$(dirname "$0")/settings.sh"

begin_preparation "$@"
python "$ROOT/scripts/prepare_spelling.py" "$1" "$RUNS/text" --overwrite --replace "$REPLACE" --length 10 "${PREPARE_FLAGS[@]}"
preprocess "$RUNS/bin" "$RUNS/text" noisy clean
