#!/usr/bin/env bash
# bash prepare.sh AN4: manifests, transcriptions in words and units, lexicon and bigram -> $RUNS/bin; and, where ONLY or DECODERS name
# a row or column with it, a recurrent language model.
. "$(dirname "$0")/settings.sh"

(  # which ends here where it is done already
    begin_preparation "$@"
    python "$ROOT/scripts/prepare_recognition.py" "$RUNS/bin" --an4 "$1" --units "$UNITS" --overwrite "${PREPARE_FLAGS[@]}"
    if [ "$QUARTER" = 1 ]; then
        # Every fourth utterance to train on; lexicon and language models stay those of all. The first line of a manifest is its folder.
        awk 'NR % 4 == 1' "$RUNS/bin/train.wrd" > "$RUNS/bin/words"
        awk 'NR == 1 || NR % 4 == 2' "$RUNS/bin/train.tsv" > "$RUNS/bin/manifest"
        for units in "$RUNS"/bin/train.{ltr,phn}; do
            if [ -e "$units" ]; then awk 'NR % 4 == 1' "$units" > "$units.quarter" && mv "$units.quarter" "$units"; fi
        done
        mv "$RUNS/bin/train.wrd" "$RUNS/bin/all.wrd"
        mv "$RUNS/bin/words" "$RUNS/bin/train.wrd"
        mv "$RUNS/bin/manifest" "$RUNS/bin/train.tsv"
    fi
    touch "$RUNS/bin/done"
)
if needs_rnn "${ONLY:-${METHODS[*]}} $DECODERS"; then
    set_up
    train_rnn
fi
