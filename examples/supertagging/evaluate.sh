#!/usr/bin/env bash
# bash evaluate.sh METHOD SEED: test word accuracy under greedy, beam and soft-beam search. SUBSET=valid: on the validation set.
. "$(dirname "$0")/settings.sh"

evaluate_example "$@"
