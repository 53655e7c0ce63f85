#!/usr/bin/env bash
# bash run.sh AN4: prepare, train and evaluate all methods, print the tables of word and of unit errors. Running it again resumes.
# SMOKE=1: a minute instead of hours. UNITS=phones. QUARTER=1: a quarter of the training data. SEEDS="1 2": other seeds.
# ONLY="...": some of the methods.
. "$(dirname "$0")/settings.sh"

run_recognizers "$@"
