#!/usr/bin/env bash
# bash prepare.sh DATA_DIR: {train,val,test}.{de,en} -> sentencepiece -> fairseq data in $WORK/bin
. "$(dirname "$0")/settings.sh"

[ $# -eq 1 ] || fail "usage: bash prepare.sh DATA_DIR, a folder with {train,val,test}.{$SRC,$TGT}"
if [ -e "$WORK/bin/done" ]; then say "$WORK/bin: done already"; exit 0; fi
mkdir -p "$WORK"
python "$ROOT/scripts/prepare_parallel.py" "$1" "$WORK/text" --overwrite --source-lang $SRC --target-lang $TGT "${PREPARE_FLAGS[@]}"
preprocess "$WORK/bin" "$WORK/text" $SRC $TGT --joined-dictionary
