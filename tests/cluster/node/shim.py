"""Speak to a pod's shim as the agent does: shim.py DIR exec CONTAINER-DIR ID COMMAND... | state

exec writes the command's process description beside exec.json and prints the command's output;
the exit status is the command's."""
import array
import json
import os
import socket
import sys


def connect(directory):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fd = os.open(directory, os.O_PATH)
    s.connect(f"/proc/self/fd/{fd}/shim.sock")
    os.close(fd)
    return s


def send(s, verb, fds=(), **fields):
    data = verb.encode() + b"\0" + b"".join(f"{k}={v}".encode() + b"\0" for k, v in fields.items())
    s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])


def receive(s):
    data = s.recv(16384)
    verb, *fields = data.rstrip(b"\0").split(b"\0")
    return verb.decode(), [f.decode().split("=", 1) for f in fields]


def run(directory, container, identity, command):
    with open(f"{container}/exec.json") as f:
        process = json.load(f)
    process["args"] = command
    path = f"{container}/test-{os.getpid()}.json"
    with open(path, "w") as f:
        json.dump(process, f)
    s = connect(directory)
    send(s, "exec", [1, 2], id=identity, process=path, stdout=1, stderr=1)
    verb, fields = receive(s)
    if verb == "ok":
        verb, fields = receive(s)
    os.unlink(path)
    fields = dict(fields)
    if verb != "exited":
        print(fields.get("message"), file=sys.stderr)
        return 255
    return int(fields["code"])


def main():
    directory, verb, *rest = sys.argv[1:]
    if verb == "exec":
        sys.exit(run(directory, rest[0], rest[1], rest[2:]))
    s = connect(directory)
    send(s, verb)
    answer, fields = receive(s)
    print(answer, *("=".join(f) for f in fields))


main()
