#!/bin/sh
# Deciding code makes no system call, reads no clock, draws no random number and
# knows neither libuv, nng nor libraft: its undefined symbols say so.
# usage: pure.sh LIBRARY.a...
echo "1..$#"
n=0
failed=0
for library; do
	n=$((n + 1))
	name=$(basename "$library")
	symbols=$(nm -u "$library") || { echo "not ok $n - $name cannot be read"; exit 1; }
	# A library without any undefined symbol is not what was meant to be tested.
	echo "$symbols" | grep -q " U " || { echo "not ok $n - $name has no undefined symbols"; exit 1; }
	found=$(echo "$symbols" | awk '$1 == "U" { print $2 }' | sort -u | grep -E \
		'^(uv_|nng_|raft_|SSL_|nghttp2_|clock_|pthread_|sem_)|^(time|gettimeofday|localtime|nanosleep|usleep|sleep|alarm|getrandom|rand|srand|random|drand48|getentropy|open|openat|fopen|read|write|pread|pwrite|close|fsync|socket|connect|bind|listen|accept|send|sendto|recv|recvfrom|poll|select|epoll_wait|ioctl|fork|execve|system|popen|kill|getenv|syscall|mmap|system_source)$')
	if [ -n "$found" ]; then
		echo "not ok $n - $name uses" $found
		failed=1
	else
		echo "ok $n - $name"
	fi
done
exit $failed
