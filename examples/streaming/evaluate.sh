#!/usr/bin/env bash
# bash evaluate.sh METHOD SEED: test score under greedy search, and beam search of width 3 and 10 that adds up log-probs or logits.
# SUBSET=valid: on the validation set.
. "$(dirname "$0")/settings.sh"

evaluate_example "$@"
