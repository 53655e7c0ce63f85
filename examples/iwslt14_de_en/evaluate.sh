#!/usr/bin/env bash
# bash evaluate.sh METHOD SEED: test BLEU under greedy, beam and soft-beam search, on the tokenised, lower-cased words of the
# references, as the papers have it. SUBSET=valid: on the validation set, to choose settings by.
. "$(dirname "$0")/settings.sh"

evaluate_example "$@"
