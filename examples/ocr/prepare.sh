#!/usr/bin/env bash
# bash prepare.sh LETTERS: letter.data -> parallel text and the glyphs' pixels -> fairseq data in $RUNS/bin
. "$(dirname "$0")/settings.sh"

begin_preparation "$@"
python "$ROOT/scripts/prepare_letters.py" "$1" "$RUNS/text" --overwrite --fold "$FOLD" "${PREPARE_FLAGS[@]}"
preprocess "$RUNS/bin" "$RUNS/text" glyphs letters --srcdict "$RUNS/text/dict.glyphs.txt"
