#!/usr/bin/env bash
# What the API promises beyond what kubectl shows: codes, versions, lists in pieces, watches, forms.
source "$(dirname "$0")/lib.sh"
start_master
SERVER=$server PKI=$pki /usr/bin/python3 "$(dirname "$0")/semantics.py"
result=$?
master_alive || { echo "not ok 9999 - the master is alive"; exit 1; }
exit $result
