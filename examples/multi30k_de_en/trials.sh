#!/usr/bin/env bash
# bash trials.sh DATA_DIR [TRIAL...]: the settings of the search-aware methods, one epoch each from the same checkpoint, scored on
# the validation set (BLEU). Running it again resumes. Without TRIAL, all of them.
. "$(dirname "$0")/settings.sh"

export SEARCH_EPOCHS=1
# name, method, and what differs from train.sh
TRIALS=(
    "lr-2e-5 cross-entropy-continued"
    "lr-1e-4 cross-entropy-continued SEARCH_LR=1e-4"
    "nll-2 soft-beam-direct"
    "nll-2-lr-1e-4 soft-beam-direct SEARCH_LR=1e-4"
    "nll-0.5 soft-beam-direct NLL_WEIGHT=0.5"
    "nll-2-alpha-100 soft-beam-direct ALPHA=100"
)
run_trials "$@"
