#!/usr/bin/env bash
# bash prepare.sh DATA_DIR: {train,val,test}.{de,en} -> sentencepiece -> fairseq data in $RUNS/bin
. "$(dirname "$0")/settings.sh"

begin_preparation "$@"
python "$ROOT/scripts/prepare_parallel.py" "$1" "$RUNS/text" --overwrite --source-lang $SRC --target-lang $TGT "${PREPARE_FLAGS[@]}"
preprocess "$RUNS/bin" "$RUNS/text" $SRC $TGT --joined-dictionary
