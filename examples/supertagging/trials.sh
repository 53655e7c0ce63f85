#!/usr/bin/env bash
# bash trials.sh DATA_DIR [TRIAL...]: the settings of the search-aware methods, one epoch each from the same checkpoint, scored on
# the validation set. Running it again resumes. Without TRIAL, all of them.
. "$(dirname "$0")/settings.sh"

export NLL_WEIGHT=0 SEARCH_EPOCHS=1
DIRECT=soft-beam-direct-squared-distance-constant HINGE=soft-beam-hinge-squared-distance-constant
# name, method, and what differs from train.sh, without cross entropy in the loss
TRIALS=(
    "control cross-entropy-continued"
    "direct $DIRECT"
    "direct-lr-3e-4 $DIRECT SEARCH_LR=3e-4"
    "direct-lr-3e-5 $DIRECT SEARCH_LR=3e-5"
    "direct-alpha-1 $DIRECT ALPHA=1"
    "direct-alpha-100 $DIRECT ALPHA=100"
    "direct-nll-0.5 $DIRECT NLL_WEIGHT=0.5"
    "direct-nll-2 $DIRECT NLL_WEIGHT=2"
    "direct-logits $DIRECT SCORES=logits"
    "direct-successive soft-beam-direct-successive-constant"
    "hinge $HINGE"
    "hinge-nll-0.5 $HINGE NLL_WEIGHT=0.5"
    "hinge-nll-2 $HINGE NLL_WEIGHT=2"
    "hinge-logits $HINGE SCORES=logits"
    "hinge-successive soft-beam-hinge-successive-constant"
)
run_trials "$@"
