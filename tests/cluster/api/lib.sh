# For scripts of this folder: one master, usually without nodes, and every kubectl there is.
source "$(dirname "${BASH_SOURCE[0]}")/../../lib/tap.sh"

# start_master [NODES]: a cluster of one master under $work/cluster; sets KUBECONFIG, server, pki.
start_master() {
	sampan dev up --dir "$work/cluster" --masters 1 --nodes "${1:-0}" --registry 172.30.0.1:5000 >"$work/up.log" 2>&1 || {
		cat "$work/up.log"
		echo "Bail out! the master does not start"
		exit 1
	}
	at_exit "sampan dev down --dir '$work/cluster' >/dev/null 2>&1"
	export KUBECONFIG=$work/cluster/kubeconfig HOME=$work
	server=$(sed -n 's/^ *server: //p' "$KUBECONFIG" | head -n 1)
	pki=$work/pki
	mkdir -p "$pki"
	local field file
	for field in certificate-authority-data:ca.crt client-certificate-data:admin.crt client-key-data:admin.key; do
		file=$pki/${field#*:}
		sed -n "s/^ *${field%%:*}: //p" "$KUBECONFIG" | head -n 1 | base64 -d >"$file"
	done
}

master_alive() { kill -0 "$(cat "$work"/cluster/run/master-1.pid)"; }

# api METHOD PATH [CURL ARGUMENTS]: the body on stdout, with the admin's certificate.
api() {
	local method=$1 path=$2
	shift 2
	curl -sS --max-time 20 --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" \
		-X "$method" "$@" "$server$path"
}

code() { api "$@" -o /dev/null -w '%{http_code}'; }

# Debian's 1.20, unpacked once beside the build, then the versioned ones beside the one on PATH.
kubectls() {
	local old=$root/build/kubectl-debian/usr/bin/kubectl dir
	if [ ! -x "$old" ]; then
		# Whole or not at all: other scripts run beside this one.
		(mkdir -p "$work/kubectl" && cd "$work/kubectl" && apt-get download -qq kubernetes-client &&
			dpkg-deb -x kubernetes-client_*.deb . && mkdir -p "$(dirname "$old")" &&
			cp usr/bin/kubectl "$old.$$" && mv "$old.$$" "$old") >/dev/null 2>&1
	fi
	[ -x "$old" ] && echo "$old"
	dir=$(dirname "$(readlink -f "$(command -v kubectl)")")
	if compgen -G "$dir/kubectl.1.*" >/dev/null; then
		ls "$dir"/kubectl.1.* | sort -V
	else
		readlink -f "$(command -v kubectl)"
	fi
}

# "1.33" of the program in $1
kubectl_version() { "$1" version --client -o json 2>/dev/null | sed -n 's/.*"gitVersion": "v\(1\.[0-9]*\).*/\1/p' | head -n 1; }
