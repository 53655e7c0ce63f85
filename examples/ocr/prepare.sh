#!/usr/bin/env bash
# bash prepare.sh LETTERS: Taskar's letter.data, or a sample of it -> glyphs and letters -> fairseq data in $RUNS/bin.
. "$(dirname "$0")/settings.sh"

[ $# -eq 1 ] || fail "usage: bash prepare.sh LETTERS, the file letter.data"
if [ -e "$RUNS/bin/done" ]; then say "$RUNS/bin: done already"; exit 0; fi
mkdir -p "$RUNS"
python "$ROOT/scripts/prepare_letters.py" "$1" "$RUNS/text" --overwrite --fold "$FOLD" "${PREPARE_FLAGS[@]}"
preprocess "$RUNS/bin" "$RUNS/text" glyphs letters --srcdict "$RUNS/text/dict.glyphs.txt"
