#!/usr/bin/env bash
# bash evaluate.sh METHOD SEED: word and unit error rates, greedy and with the beam. SUBSET=valid: on the validation set.
. "$(dirname "$0")/settings.sh"

evaluate_recognizer "$@"
