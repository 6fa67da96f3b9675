#!/usr/bin/env bash
# What no client of good will sends: each gets its error, and the master lives on.
source "$(dirname "$0")/lib.sh"
start_master

# A CA of somebody else's, and certificates of it and of ours that are over.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=elsewhere \
	-keyout "$pki/other-ca.key" -out "$pki/other-ca.crt" 2>/dev/null
certificate() { # NAME CA FROM UNTIL, as YYYYMMDD
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/O=system:masters/CN=$1" \
		-keyout "$pki/$1.key" -out "$pki/$1.csr" 2>/dev/null
	: >"$pki/index.txt"
	openssl rand -hex 16 >"$pki/serial"
	openssl ca -batch -notext -md sha256 -in "$pki/$1.csr" -cert "$pki/$2.crt" -keyfile "$pki/$2.key" \
		-startdate "$3000000Z" -enddate "$4000000Z" -out "$pki/$1.crt" -outdir "$pki" -config <(printf '%s\n' \
		'[ca]' 'default_ca=c' '[c]' "database=$pki/index.txt" 'policy=p' 'unique_subject=no' "serial=$pki/serial" '[p]' \
		'organizationName=supplied' 'commonName=supplied') 2>/dev/null
}
api GET /api/v1/namespaces/kube-system/secrets/sampan-ca |
	/usr/bin/python3 -c 'import base64, json, sys
for k, v in json.load(sys.stdin)["data"].items():
    if "key" in k: sys.stdout.write(base64.b64decode(v).decode())' >"$pki/ca.key"
tomorrow=$(date -d tomorrow +%Y%m%d) yesterday=$(date -d yesterday +%Y%m%d)
certificate foreign other-ca "$yesterday" "$tomorrow"
certificate expired ca "$(date -d '3 days ago' +%Y%m%d)" "$yesterday"
certificate early ca "$tomorrow" "$(date -d '3 days' +%Y%m%d)"
certificate good ca "$yesterday" "$tomorrow"
SERVER=$server PKI=$pki PID=$(cat "$work"/cluster/run/master-1.pid) /usr/bin/python3 "$(dirname "$0")/bad_input.py"
result=$?
master_alive || { echo "not ok 9999 - the master is alive"; exit 1; }
exit $result
