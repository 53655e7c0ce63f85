#!/usr/bin/env bash
# bash evaluate.sh METHOD SEED: test chunk F1 (seqeval) under greedy and beam search. SUBSET=valid: on the validation set.
. "$(dirname "$0")/settings.sh"

evaluate_example "$@"
