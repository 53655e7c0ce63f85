#!/usr/bin/env bash
# Creates .venv at the root of the repository: Python 3.11, 3.12 or 3.13, the tested set of scripts/constraints.txt, and
# this package (editable). A finished .venv is reused at once; an unfinished or outdated one, or one of another Python than
# PYTHON names, is built again from scratch.
#
#   bash scripts/env.sh
#
# PYTHON                the Python to use (default: the newest of python3.13, python3.12, python3.11, else python3)
# SEQSEARCH_TORCH_INDEX  index to take torch from, e.g. that of its CUDA wheels (default: what pip is configured with)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
stamp=$venv/.complete # written last: without it, or with another fingerprint, .venv is not whole
log=$root/build/env.log
lock=$root/build/env.lock
constraints=scripts/constraints.txt
supported=(3.13 3.12 3.11) # newest first; requires-python in pyproject.toml says the same
supported_text="3.11, 3.12 or 3.13"
steps=6
step=0

# What a finished .venv was made from; the folder counts, because a virtual environment cannot be moved.
fingerprint() {
    { cat "$root/$constraints" "$root/pyproject.toml"; printf '%s\n' "$root"; } |
        { sha256sum 2>/dev/null || shasum -a 256; } | cut -d ' ' -f 1
}

whole() {
    [[ -x $venv/bin/python && -f $stamp && $(<"$stamp") == "$wanted" ]] && same_python
}

# Whether .venv is of the version that PYTHON names; without PYTHON any will do.
same_python() {
    local made
    [[ -n ${PYTHON:-} ]] || return 0
    find_python
    made=$(cat "$venv/pyvenv.cfg" 2>/dev/null) || return 1
    [[ $made == *"version = $version."* ]]
}

refuse() {
    printf 'scripts/env.sh: %s\n' "$1" >&2
    exit 1
}

# Sets `version` to the major and minor version of the program $1; fails if that is not a supported one.
supports() {
    local one
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || version=
    for one in "${supported[@]}"; do
        [[ $version != "$one" ]] || return 0
    done
    return 1
}

# Sets `python` and `version`. A name on the PATH need not be a Python that starts: a version manager's stand-in is not.
find_python() {
    local candidate
    python=
    if [[ -n ${PYTHON:-} ]]; then
        python=$(command -v "$PYTHON") || refuse "PYTHON=$PYTHON is no program; set PYTHON=/path/to/python3.12, say."
        [[ $python == /* ]] || python=$PWD/$python
        if supports "$python"; then return; fi
    else
        for candidate in "${supported[@]/#/python}" python3; do
            command -v "$candidate" >/dev/null || continue
            python=$(command -v "$candidate")
            if supports "$python"; then return; fi
        done
    fi
    [[ -n $python ]] || refuse "no Python found; install Python $supported_text, or set PYTHON=/path/to/it."
    refuse "needs Python $supported_text, and $python is ${version:+Python }${version:-no Python that starts};\
 install one of them, or set PYTHON=/path/to/it."
}

find_compiler() {
    local candidate
    if [[ -n ${CXX:-} ]]; then
        command -v "${CXX%% *}" >/dev/null || refuse "CXX=$CXX is no program; set CXX to a C++ compiler, or unset it."
        return
    fi
    for candidate in c++ g++ clang++; do
        command -v "$candidate" >/dev/null || continue
        [[ $candidate == c++ ]] || export CXX=$candidate
        [[ $candidate != clang++ ]] || export CC=${CC:-clang}
        return
    done
    refuse "no C++ compiler found, and fairseq must be compiled; install g++ or clang++, or set CXX=/path/to/it."
}

find_headers() {
    "$python" -c 'import os, sysconfig; raise SystemExit(
        not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' ||
        refuse "$python has no Python.h, and fairseq must be compiled;\
 install Python's headers (often named python$version-dev)."
}

# One builder at a time: a second run waits for the first, and then finds its .venv.
take_lock() {
    mkdir -p "$root/build"
    if command -v flock >/dev/null; then
        exec 9>>"$lock"
        flock -n 9 || { echo "another scripts/env.sh is at work on $venv, waiting for it ..." && flock 9; }
        return
    fi
    until mkdir "$lock.d" 2>/dev/null; do
        # A holder that was killed leaves its folder behind.
        kill -0 "$(cat "$lock.d/pid" 2>/dev/null || echo $$)" 2>/dev/null || { rm -rf "$lock.d" && continue; }
        echo "another scripts/env.sh is at work on $venv, waiting for it (if it is not, remove $lock.d) ..."
        sleep 5
    done
    echo $$ >"$lock.d/pid"
    trap 'rm -rf "$lock.d"' EXIT
}

# run WHAT HINT COMMAND...: one numbered step, its output in the log.
run() {
    local what=$1 hint=$2
    shift 2
    step=$((step + 1))
    echo "[$step/$steps] $what ..."
    printf '\n[%s/%s] %s\n$ %s\n' "$step" "$steps" "$what" "$*" >>"$log"
    "$@" >>"$log" 2>&1 </dev/null && return
    {
        echo "--- the last lines of $log:"
        tail -n 25 "$log"
        echo "---"
    } >&2
    refuse "'$what' failed; the whole log is $log. $hint Then run scripts/env.sh again."
}

pip() {
    "$venv/bin/python" -m pip "$@"
}

install() {
    pip install -c "$constraints" "$@"
}

install_torch() {
    # The index of the torch wheels need not have the tested versions of what torch itself needs.
    [[ -z ${SEQSEARCH_TORCH_INDEX:-} ]] || install --no-deps --index-url "$SEQSEARCH_TORCH_INDEX" torch || return
    install torch
}

check_torch() {
    nvidia-smi >/dev/null 2>&1 || return 0
    "$venv/bin/python" -c 'import torch; raise SystemExit(torch.version.cuda is None)' ||
        refuse "this machine has a GPU, but pip's index gave a torch without CUDA; run it again with\
 SEQSEARCH_TORCH_INDEX=<index url of the CUDA wheels>."
}

compiled_parts_load() {
    "$venv/bin/python" -c 'import fairseq.data.data_utils_fast, fairseq.data.token_block_utils_fast
import fairseq.libbase, fairseq.libbleu, fairseq.libnat'
}

install_fairseq() {
    # Without build isolation: in isolation pip fetches a torch of its own, gigabytes of it, only to compile against.
    # Without CUDA_HOME: with it fairseq compiles CUDA kernels that nothing here uses, and needs a matching nvcc.
    # No wheel: for some Pythons the index has one that was compiled against an older torch, and does not load.
    local compile=(env -u CUDA_HOME "$venv/bin/python" -m pip install -c "$constraints" --no-build-isolation
        --no-binary fairseq-fixed)
    "${compile[@]}" fairseq-fixed || return
    if compiled_parts_load; then return; fi
    echo "pip's cache had a fairseq that was compiled against another torch: compiling it again"
    "${compile[@]}" --no-deps --force-reinstall --no-cache-dir fairseq-fixed || return
    compiled_parts_load
}

check() {
    # From another folder, so that the installed package is what is found.
    (cd / && "$venv/bin/python" -c 'import importlib.util, pytest, sacrebleu, sentencepiece
import torch, fairseq.tasks
assert importlib.util.find_spec("seqsearch_fairseq"), "seqsearch_fairseq is not installed"
print("torch", torch.__version__, "CUDA", torch.version.cuda)')
}

wanted=$(fingerprint)
whole && exit 0

find_python
# Not a virtual environment's Python, that may be the one to be removed, nor a launcher that chooses by folder.
python=$("$python" -c 'import sys; print(sys._base_executable)')
find_compiler
find_headers
take_lock
whole && exit 0

# From here on only .venv's own packages and this script's own choices count.
unset PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
network="Check the network and pip's own settings (pip config list)."

cd "$root"
if [[ -e $venv ]]; then
    echo "$venv is unfinished or was made from other pins: building it again from scratch"
    rm -rf "$venv"
fi
: >"$log"
echo "building $venv with $python, log in $log"

run "creating the virtual environment" "Install Python's venv module (often named python$version-venv)." \
    "$python" -m venv "$venv"
run "installing the build tools" "$network" install setuptools setuptools_scm wheel numpy cython
run "installing torch (a large download)" "$network" install_torch
check_torch
run "building fairseq (about 4 minutes)" "Check the C++ compiler, the network, and the disk's free space." \
    install_fairseq
run "installing seqsearch-fairseq and what it needs" "$network" install --no-build-isolation -e '.[dev,plot]'
run "checking that everything imports" "The log names what does not import." check

printf '%s\n' "$wanted" >"$stamp.new"
mv "$stamp.new" "$stamp"
echo "done: $venv"
