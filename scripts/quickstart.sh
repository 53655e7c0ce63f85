#!/usr/bin/env bash
# The main job in a few minutes: train with cross entropy, fine-tune through a search, decode in several ways, print two tables.
# Both corpora are generated. Running it again resumes; remove the folder quickstart/ to begin anew. SEEDS="1 2 3": more seeds of the
# tagging task.
. "$(dirname "$0")/lib.sh"

WORK=${WORK:-$ROOT/quickstart}
SEEDS=${SEEDS:-1}
# shellcheck disable=SC2086
check_seeds $SEEDS
set_up
OPTIMIZER_FLAGS=(--optimizer adam --clip-norm 1.0)

# Tagging from left to right, where a later word decides an earlier label.
TAGGING_METHODS=(cross-entropy cross-entropy-continued dss-argmax soft-beam-direct-logits)
TAGGING_DECODERS=(greedy beam-3 beam-3-logits)
tagging() {
    local work=$WORK/tagging seed base method decoder left each score objective
    mkdir -p "$work"
    if [ ! -e "$work/text/test.labels" ]; then python "$ROOT/scripts/quickstart_tags.py" "$work/text" > /dev/null; fi
    preprocess "$work/bin" "$work/text" words labels
    for seed in $SEEDS; do
        base=$work/models/cross-entropy-$seed
        for method in "${TAGGING_METHODS[@]}"; do
            objective=(--finetune-from-model "$base/checkpoint_best.pt" --lr 3e-3 --max-epoch 6)
            case $method in
                cross-entropy) objective=(--criterion cross_entropy --lr 3e-3 --max-epoch 8) ;;
                cross-entropy-continued) objective+=(--criterion cross_entropy) ;;
                dss-argmax) objective+=(--criterion differentiable_scheduled_sampling --dss-feedback argmax --dss-decay always) ;;
                soft-beam-direct-logits) objective+=(--criterion soft_beam_direct --soft-beam-size 3 --soft-beam-alpha 0.3
                    --soft-beam-scores logits) ;;
            esac
            train "$work/models/$method-$seed" "$work/bin" --task search_tagging --num-workers 0 --seed "$seed" --max-tokens 1000 \
                --arch tagger_lstm --encoder-lookahead 0 --encoder-embed-dim 32 --encoder-hidden-size 48 \
                --decoder-hidden-size 48 --decoder-embed-dim 16 "${OPTIMIZER_FLAGS[@]}" "${objective[@]}"
            left=() each=()
            for decoder in "${TAGGING_DECODERS[@]}"; do
                if [ -e "$work/results/$method-$seed-$decoder.json" ]; then continue; fi
                left+=("$decoder")
                # shellcheck disable=SC2207
                each+=(--each "$work/models/$method-$seed/test.$decoder" $(named_decoder "$decoder"))
            done
            [ ${#left[@]} -ge 1 ] || continue
            generate_each "$work/bin" --task search_tagging --path "$work/models/$method-$seed/checkpoint_last.pt" \
                --batch-size 128 --scoring tag_accuracy "${each[@]}"
            for decoder in "${left[@]}"; do
                score=$(grep -o 'tag accuracy: [0-9.]*' "$work/models/$method-$seed/test.$decoder" | grep -o '[0-9.]*$')
                keep_score "$work/results" "$method" "$decoder" "$seed" "test tag accuracy (%)" "$score" "all words"
            done
        done
    done
}

# Translation, with the whole source before the decoder.
TRANSLATION_METHODS=(cross-entropy cross-entropy-continued beam-search-optimization)
TRANSLATION_DECODERS=(greedy beam soft-beam)
translation() {
    local work=$WORK base method decoder out left each objective
    base=$work/models/cross-entropy-1
    mkdir -p "$work"
    if [ ! -e "$work/text/test.en" ]; then python "$ROOT/scripts/quickstart_corpus.py" "$work/text" > /dev/null; fi
    preprocess "$work/bin" "$work/text" de en
    for method in "${TRANSLATION_METHODS[@]}"; do
        objective=(--finetune-from-model "$base/checkpoint_best.pt" --lr 5e-4 --max-epoch 1)
        case $method in
            cross-entropy) objective=(--criterion cross_entropy --lr 5e-3 --lr-scheduler inverse_sqrt --warmup-updates 200
                --max-epoch 18) ;;
            cross-entropy-continued) objective+=(--criterion cross_entropy) ;;
            beam-search-optimization) objective+=(--criterion beam_search_optimization --beam-training-size 3
                --beam-training-scores log-probs --search-nll-weight 1) ;;
        esac
        train "$work/models/$method-1" "$work/bin" --task search_translation --num-workers 0 --seed 1 --max-tokens 1000 \
            --arch iwslt_goyal2017 --encoder-embed-dim 64 --encoder-hidden-size 64 --decoder-embed-dim 64 \
            --decoder-hidden-size 64 --decoder-out-embed-dim 64 --dropout 0.1 "${OPTIMIZER_FLAGS[@]}" "${objective[@]}"
        left=() each=()
        for decoder in "${TRANSLATION_DECODERS[@]}"; do
            if [ -e "$work/results/$method-1-$decoder.json" ]; then continue; fi
            left+=("$decoder") each+=(--each "$work/models/$method-1/test.$decoder" --decoder "$decoder")
        done
        [ ${#left[@]} -ge 1 ] || continue
        generate_each "$work/bin" --task search_translation --path "$work/models/$method-1/checkpoint_best.pt" --batch-size 64 \
            --beam 3 --max-len-a 1.5 --max-len-b 10 --soft-beam-decode-alpha 100 "${each[@]}"
        for decoder in "${left[@]}"; do
            out=$work/models/$method-1/test.$decoder
            plain "$out" D > "$out.txt"
            bleu "$work/text/test.en" "$out.txt" "$work/results" "$method" "$decoder" 1 test
        done
    done
}

tagging &
TAGGING=$!
translation
wait $TAGGING
echo
python "$ROOT/scripts/results.py" table "$WORK/results" --methods "${TRANSLATION_METHODS[@]}" --decoders "${TRANSLATION_DECODERS[@]}"
echo
python "$ROOT/scripts/results.py" table "$WORK/tagging/results" --methods "${TAGGING_METHODS[@]}" --decoders "${TAGGING_DECODERS[@]}"
