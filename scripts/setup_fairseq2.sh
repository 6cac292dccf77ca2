#!/usr/bin/env bash
# Make .venv-fairseq2: fairseq2, this package, and fairseq beside it, which tests-fairseq2 compares with.
#   bash scripts/setup_fairseq2.sh [python3.11]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${1:-python3.11} venv=.venv-fairseq2 pip=.venv-fairseq2/bin/pip
files=(requirements-fairseq2.txt requirements.txt requirements-base.txt)
stamp=$(cat "${files[@]}" | sha256sum)
[ "$(cat $venv/complete 2>/dev/null || true)" = "$stamp" ] && exit 0
if ! ldconfig -p | grep -q 'libsndfile\.so\.1'; then
    echo "setup-fairseq2: fairseq2n needs libsndfile.so.1: apt-get install -y libsndfile1, then run this again" >&2
    exit 1
fi
echo "Making $venv: 7 GB, about 5 minutes; pip's log: .venv-fairseq2-setup.log"
{
    rm -rf $venv && "$python" -m venv $venv
    $pip install --disable-pip-version-check "setuptools>=77.0.3" wheel "cython>=3"
    grep -hv -e '^fairseq=' -e '^fairseq-fixed=' -e '^-r' requirements-base.txt requirements.txt > $venv/requirements.txt
    $pip install --disable-pip-version-check -r requirements-fairseq2.txt -r $venv/requirements.txt
    # fairseq is compiled against the torch that is there; without its own list, as scripts/setup_environment.py does
    env -u CUDA_HOME PATH="$PWD/$venv/bin:$PATH" CFLAGS=-g0 $pip install --disable-pip-version-check --no-deps \
        --no-build-isolation "$(grep -o '^fairseq-fixed==[0-9.]*' requirements-base.txt)"
    $pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
} > .venv-fairseq2-setup.log 2>&1 || { tail -5 .venv-fairseq2-setup.log >&2; exit 1; }
echo "$stamp" > $venv/complete
