# A container registry for tests: Debian's docker-registry on a free port, with an
# image made of busybox-static. Source it from bash:
#
#     . tests/lib/registry.sh
#     registry_start "$dir"            # sets REGISTRY=127.0.0.1:PORT; listens on loopback
#     registry_start "$dir" 10.1.0.1   # on another address of this machine; REGISTRY_PORT: not any port
#     registry_push_busybox test/busybox 1    # REGISTRY/test/busybox:1
#     registry_stop                    # from the caller's EXIT trap
#
# Everything it writes lies below DIR/registry. Needs docker-registry, busybox-static, curl, tar.

registry_fail() {
	echo "registry.sh: $*" >&2
	return 1
}

registry_free_port() { # ADDRESS
	/usr/bin/python3 - "$1" <<-'PY'
		import socket, sys
		s = socket.socket()
		s.bind((sys.argv[1], 0))
		print(s.getsockname()[1])
	PY
}

# Options after ADDRESS are lines added to the configuration's http part or top level by the
# caller through REGISTRY_EXTRA (YAML).
registry_start() { # DIR [ADDRESS]
	local address=${2:-127.0.0.1} port try i
	REGISTRY_DIR=$1/registry
	mkdir -p "$REGISTRY_DIR/data" || return 1
	command -v docker-registry >/dev/null || { registry_fail "docker-registry is not installed"; return 1; }
	for try in 1 2 3; do
		port=${REGISTRY_PORT:-$(registry_free_port "$address")} || return 1
		cat >"$REGISTRY_DIR/config.yml" <<-YAML
			version: 0.1
			log: {level: warn, accesslog: {disabled: false}}
			storage:
			  filesystem: {rootdirectory: $REGISTRY_DIR/data}
			  delete: {enabled: true}
			http:
			  addr: $address:$port
			${REGISTRY_HTTP_EXTRA:-}
			${REGISTRY_EXTRA:-}
		YAML
		docker-registry serve "$REGISTRY_DIR/config.yml" >"$REGISTRY_DIR/log" 2>&1 &
		REGISTRY_PID=$!
		REGISTRY=$address:$port
		for ((i = 0; i < 200; i++)); do
			# Another's answer on this port is not ours.
			kill -0 "$REGISTRY_PID" 2>/dev/null || break
			# 401 is an answer too: the caller may have asked for authentication.
			curl -sk -o /dev/null "${REGISTRY_SCHEME:-http}://$REGISTRY/v2/" && return 0
			sleep 0.05
		done
		registry_stop
	done
	cat "$REGISTRY_DIR/log" >&2
	registry_fail "docker-registry does not answer"
}

registry_stop() {
	[ -n "${REGISTRY_PID:-}" ] || return 0
	kill "$REGISTRY_PID" 2>/dev/null
	wait "$REGISTRY_PID" 2>/dev/null
	REGISTRY_PID=
}

registry_curl() { # arguments of curl; fails on HTTP errors
	curl -sSkf ${REGISTRY_USER:+-u "$REGISTRY_USER"} "$@"
}

registry_digest() { # FILE
	echo "sha256:$(sha256sum "$1" | cut -d' ' -f1)"
}

registry_push_blob() { # REPOSITORY FILE
	local location digest
	digest=$(registry_digest "$2")
	location=$(registry_curl -X POST -D - -o /dev/null "${REGISTRY_SCHEME:-http}://$REGISTRY/v2/$1/blobs/uploads/" |
		tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
	[ -n "$location" ] || { registry_fail "no upload location for $1"; return 1; }
	case $location in
	/*) location="${REGISTRY_SCHEME:-http}://$REGISTRY$location" ;;
	esac
	case $location in
	*\?*) location="$location&digest=$digest" ;;
	*) location="$location?digest=$digest" ;;
	esac
	registry_curl -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$2" -o /dev/null "$location"
}

registry_push_manifest() { # REPOSITORY TAG FILE MEDIA-TYPE
	registry_curl -X PUT -H "Content-Type: $4" --data-binary "@$3" -o /dev/null \
		"${REGISTRY_SCHEME:-http}://$REGISTRY/v2/$1/manifests/$2"
}

# An image from layer tars (each file.tar or file.tar.gz, bottom first) and the "config"
# object of its configuration.
registry_push_image() { # REPOSITORY TAG CONFIG-JSON LAYER...
	local repository=$1 tag=$2 config=$3 work layer diffs= layers= size type
	shift 3
	work=$(mktemp -d "$REGISTRY_DIR/push.XXXXXX") || return 1
	for layer in "$@"; do
		case $layer in
		*.gz)
			diffs="$diffs,\"sha256:$(gzip -dc "$layer" | sha256sum | cut -d' ' -f1)\""
			type=application/vnd.docker.image.rootfs.diff.tar.gzip
			;;
		*)
			diffs="$diffs,\"$(registry_digest "$layer")\""
			type=application/vnd.docker.image.rootfs.diff.tar
			;;
		esac
		size=$(stat -c %s "$layer")
		layers="$layers,{\"mediaType\":\"$type\",\"size\":$size,\"digest\":\"$(registry_digest "$layer")\"}"
		registry_push_blob "$repository" "$layer" || return 1
	done
	printf '{"architecture":"%s","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":[%s]}}' \
		"$(dpkg --print-architecture)" "$config" "${diffs#,}" >"$work/config"
	registry_push_blob "$repository" "$work/config" || return 1
	printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s","size":%d,"digest":"%s"},"layers":[%s]}' \
		application/vnd.docker.distribution.manifest.v2+json \
		application/vnd.docker.container.image.v1+json \
		"$(stat -c %s "$work/config")" "$(registry_digest "$work/config")" "${layers#,}" >"$work/manifest"
	registry_push_manifest "$repository" "$tag" "$work/manifest" \
		application/vnd.docker.distribution.manifest.v2+json || return 1
	rm -rf "$work"
}

# The root of the busybox image, as a tar. No libnss: a static busybox that loads one crashes.
registry_busybox_layer() { # FILE.tar.gz
	local root applet
	root=$(mktemp -d "$REGISTRY_DIR/busybox.XXXXXX") || return 1
	mkdir -p "$root"/{bin,dev,etc,home,proc,root,sys,tmp,usr/bin,var/www}
	chmod 755 "$root"
	chmod 1777 "$root/tmp"
	install -m 755 "$(command -v busybox)" "$root/bin/busybox" || return 1
	for applet in $("$root/bin/busybox" --list); do
		[ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
	done
	ln -s ../../bin/env "$root/usr/bin/env"
	printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$root/etc/passwd"
	printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
	echo 'it works' >"$root/var/www/index.html"
	tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf - . | gzip -n >"$1"
	rm -rf "$root"
}

registry_push_busybox() { # REPOSITORY TAG [CMD-JSON]
	local layer=$REGISTRY_DIR/busybox.tar.gz
	[ -s "$layer" ] || registry_busybox_layer "$layer" || return 1
	registry_push_image "$1" "$2" \
		"{\"Env\":[\"PATH=/bin:/usr/bin\"],\"Cmd\":${3:-[\"sh\"]}}" "$layer"
}
