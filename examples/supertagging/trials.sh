#!/usr/bin/env bash
# bash trials.sh DATA_DIR [TRIAL...]: the settings of the search-aware methods, one epoch each from the same checkpoint, scored on
# the validation set. Running it again resumes. Without TRIAL, all of them.
. "$(dirname "$0")/settings.sh"

export NLL_WEIGHT=0 SEARCH_EPOCHS=1
# name, method, and what differs from train.sh, without cross entropy in the loss
TRIALS=(
    "control cross-entropy-continued"
    "direct soft-beam-direct"
    "direct-lr-3e-4 soft-beam-direct SEARCH_LR=3e-4"
    "direct-lr-3e-5 soft-beam-direct SEARCH_LR=3e-5"
    "direct-alpha-1 soft-beam-direct ALPHA=1"
    "direct-alpha-100 soft-beam-direct ALPHA=100"
    "direct-nll-0.5 soft-beam-direct NLL_WEIGHT=0.5"
    "direct-nll-2 soft-beam-direct NLL_WEIGHT=2"
    "direct-logits soft-beam-direct-logits"
    "direct-successive soft-beam-direct-successive"
    "hinge soft-beam-hinge"
    "hinge-nll-0.5 soft-beam-hinge NLL_WEIGHT=0.5"
    "hinge-nll-2 soft-beam-hinge NLL_WEIGHT=2"
    "hinge-logits soft-beam-hinge-logits"
    "hinge-successive soft-beam-hinge-successive"
)
run_trials "$@"
