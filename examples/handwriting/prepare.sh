#!/usr/bin/env bash
# bash prepare.sh LETTERS TEXT: frames, transcriptions in words and letters, lexicon and bigram -> $RUNS/bin
. "$(dirname "$0")/settings.sh"

begin_preparation "$@"
python "$ROOT/scripts/prepare_handwriting.py" "$1" "$2" "$RUNS/bin" --overwrite "${PREPARE_FLAGS[@]}"
touch "$RUNS/bin/done"
