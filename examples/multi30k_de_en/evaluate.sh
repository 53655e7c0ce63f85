#!/usr/bin/env bash
# bash evaluate.sh METHOD SEED: test BLEU (sacrebleu, on the untouched references) under greedy, beam and soft-beam search.
# SUBSET=valid: on the validation set, to choose settings by.
. "$(dirname "$0")/settings.sh"

evaluate_example "$@"
