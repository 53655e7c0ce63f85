#!/usr/bin/env bash
# Runs the tests, after building .venv where it is missing. Arguments go to pytest:
#
#   bash scripts/test.sh
#   bash scripts/test.sh tests/algorithms -k hinge -n 0
#
# Two processes of one thread each, unless -n (or --pdb, which needs a single process) says otherwise.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/env.sh

processes=(-n 2)
for argument in "$@"; do
    case $argument in
        -n | -n[0-9al]* | --numprocesses | --numprocesses=* | --pdb | --trace | no:xdist | -pno:xdist) processes=() ;;
    esac
done

export OMP_NUM_THREADS=1
exec .venv/bin/python -m pytest ${processes[@]+"${processes[@]}"} "$@"
