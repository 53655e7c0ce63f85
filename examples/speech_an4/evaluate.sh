#!/usr/bin/env bash
# bash evaluate.sh METHOD SEED: word and unit error rates, greedy and with the beam. SUBSET=valid: on the validation set.
. "$(dirname "$0")/settings.sh"

if [ $# -eq 2 ]; then
    task_of "$1"
    MODEL=$RUNS/models/$1-$2${TRIAL:+-$TRIAL}
    if [ -e "$MODEL/done" ]; then
        set_up
        if needs_rnn "$1" "$DECODERS"; then train_rnn; fi
        for decoder in $DECODERS; do
            if [[ $decoder == grid-* ]]; then tune "$MODEL" "$1" "${decoder#*-}"; fi
        done
    fi
fi
evaluate_example "$@"
