#!/usr/bin/env bash
# bash run.sh LETTERS TEXT: prepare, train and evaluate all methods, print the tables of word and of unit errors, and the differences to
# the control. Running it again resumes. SMOKE=1: a minute instead of an hour. SEEDS="1 2": other seeds. ONLY="...": some of the methods.
. "$(dirname "$0")/settings.sh"

run_recognizers "$@"
