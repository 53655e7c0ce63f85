#!/usr/bin/env bash
# bash run.sh LETTERS: prepare, train and evaluate all methods, print the table. Running it again resumes.
# SMOKE=1: a minute instead of an hour. SEEDS="1 2": other seeds. FOLD=1: another test set. ONLY="...": some of the methods.
. "$(dirname "$0")/settings.sh"

run_example "$@"
