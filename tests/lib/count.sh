# Counting results: sourced by tests/run.
passed=0 failed=0 skipped=0

# count_meson TESTLOG GATE: adds up what meson ran; fails when a test failed or none ran.
count_meson() {
	local counts
	counts=$(python3 - "$1" <<'PY'
import json, re, sys

ok = bad = skip = 0
for line in open(sys.argv[1]):
    test = json.loads(line)
    tap = re.findall(r"^(ok|not ok)\b.*?(# SKIP.*)?$", test.get("stdout", ""), re.M | re.I)
    for verdict, skipped in tap:
        if skipped:
            skip += 1
        elif verdict == "ok":
            ok += 1
        else:
            bad += 1
    if test["result"] == "SKIP" and not tap:
        skip += 1
    elif test["result"] not in ("OK", "SKIP") and not any(v == "not ok" for v, _ in tap):
        bad += 1  # A crash or time-out says nothing of its own.
    elif test["result"] == "OK" and not tap:
        ok += 1
    if test["result"] not in ("OK", "SKIP"):
        print(f"# failed: {test['name']} ({test['result']})", file=sys.stderr)
print(ok, bad, skip)
PY
	) || { failed=$((failed + 1)); echo "# $2: no results of the unit tests"; return 1; }
	read -r ok bad skip <<<"$counts"
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
	echo "# $2 unit: $ok passed, $bad failed, $skip skipped"
	[ "$bad" -eq 0 ]
}

# count_tap SCRIPT LOG EXIT-CODE
count_tap() {
	local ok bad skip
	skip=$(grep -ciE '^ok\b.*# skip' "$2")
	ok=$(($(grep -cE '^ok\b' "$2") - skip))
	bad=$(grep -cE '^not ok\b' "$2")
	if [ "$3" -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1 # It died or ran out of time before it could say so.
		echo "# $1: exit code $3"
	elif [ $((ok + bad + skip)) -eq 0 ]; then
		bad=1
		echo "# $1: ran no test"
	fi
	grep -E '^(not )?ok\b' "$2"
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
	[ "$bad" -eq 0 ]
}

summary() {
	if [ "$skipped" -gt 0 ]; then
		echo "$passed passed, $failed failed, $skipped skipped"
	else
		echo "$passed passed, $failed failed"
	fi
	[ "$failed" -eq 0 ]
}
