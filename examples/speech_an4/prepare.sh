#!/usr/bin/env bash
# bash prepare.sh AN4: manifests, transcriptions in words and units, lexicon and bigram -> $RUNS/bin
. "$(dirname "$0")/settings.sh"

begin_preparation "$@"
python "$ROOT/scripts/prepare_recognition.py" "$RUNS/bin" --an4 "$1" --units "$UNITS" --overwrite "${PREPARE_FLAGS[@]}"
if [ "$QUARTER" = 1 ]; then
    # Every fourth utterance to train on; lexicon and bigram stay those of all. The first line of a manifest is its folder.
    awk 'NR % 4 == 1' "$RUNS/bin/train.wrd" > "$RUNS/bin/words"
    awk 'NR == 1 || NR % 4 == 2' "$RUNS/bin/train.tsv" > "$RUNS/bin/manifest"
    for units in "$RUNS"/bin/train.{ltr,phn}; do
        if [ -e "$units" ]; then awk 'NR % 4 == 1' "$units" > "$units.quarter" && mv "$units.quarter" "$units"; fi
    done
    mv "$RUNS/bin/words" "$RUNS/bin/train.wrd"
    mv "$RUNS/bin/manifest" "$RUNS/bin/train.tsv"
fi
touch "$RUNS/bin/done"
