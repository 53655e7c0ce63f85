#!/usr/bin/env bash
# bash evaluate.sh METHOD SEED: test word accuracy under greedy, beam and soft-beam search
. "$(dirname "$0")/settings.sh"

[ $# -eq 2 ] || fail "usage: bash evaluate.sh METHOD SEED"
METHOD=$1 SEED=$2
MODEL=$WORK/models/$METHOD-$SEED
[ -e "$MODEL/done" ] || fail "$MODEL is not trained yet: bash train.sh $METHOD $SEED"

for decoder in greedy beam soft-beam; do
    if [ -e "$WORK/results/$METHOD-$SEED-$decoder.json" ]; then continue; fi
    out=$MODEL/test.$decoder
    generate "$out" "$WORK/bin" --task search_tagging --source-lang words --target-lang labels --path "$MODEL/checkpoint_best.pt" \
        --gen-subset test --batch-size 64 --beam 3 --scoring tag_accuracy \
        --decoder $decoder --soft-beam-decode-alpha "${DECODE_ALPHA:-10}"
    score=$(grep -o 'tag accuracy: [0-9.]*' "$out" | grep -o '[0-9.]*$')
    keep_score "$WORK/results" "$METHOD" "$decoder" "$SEED" "test word accuracy (%)" "$score" "tag_accuracy, all words"
done
