#!/usr/bin/env bash
# bash evaluate.sh METHOD SEED: test chunk F1 (seqeval) under greedy and beam search. SUBSET=valid: on the validation set.
. "$(dirname "$0")/settings.sh"

[ $# -eq 2 ] || fail "usage: bash evaluate.sh METHOD SEED"
METHOD=$1${TRIAL:+-$TRIAL} SEED=$2
MODEL=$WORK/models/$1-$SEED${TRIAL:+-$TRIAL}
SUBSET=${SUBSET:-test}
case $SUBSET in
    test) RESULTS=$WORK/results ;;
    *) RESULTS=$WORK/results-$SUBSET ;;
esac
[ -e "$MODEL/done" ] || fail "$MODEL is not trained yet: bash train.sh $1 $SEED"

SEQEVAL=$(python -c 'from importlib.metadata import version; print(version("seqeval"))')
for decoder in greedy beam; do
    if [ -e "$RESULTS/$METHOD-$SEED-$decoder.json" ]; then continue; fi
    out=$MODEL/$SUBSET.$decoder
    generate "$out" "$WORK/bin" --task search_tagging --source-lang words --target-lang labels \
        --path "$MODEL/checkpoint_best.pt" --gen-subset "$SUBSET" --batch-size 64 --beam 3 --scoring chunk_f1 --decoder $decoder
    score=$(grep -o 'chunk F1: [0-9.]*' "$out" | grep -o '[0-9.]*$')
    keep_score "$RESULTS" "$METHOD" "$decoder" "$SEED" "$SUBSET chunk F1 (%)" "$score" "seqeval $SEQEVAL"
done
