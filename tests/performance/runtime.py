"""Runs a function binary under a Lambda Runtime API of a few lines, and reads the cost of the
process from the kernel.

One thread and plain sockets keep this program's own share of a wall time small. The CPU is that
of the function alone."""

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time

ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n" b'{"status":"OK"}'


def cpu_of(pid):
    """Returns the nanoseconds that all threads of a process have run, including those that have
    ended. It is the sum of their entries in /proc/PID/task/TID/schedstat, read by the process's
    CPU clock, clock_getcpuclockid(3)."""
    return time.clock_gettime_ns((~pid << 3) | 2)


@contextlib.contextmanager
def one_processor_awake():
    """Pins this program and everything it starts to one processor, and keeps that from halting
    with an idle-priority loop. The time that a virtual machine's host takes to wake a processor
    is accounted to the process that wakes up. With the two ends of a socket on two processors,
    or on one that halts, hello world costs up to three times as much."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    loop = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"
    child = subprocess.Popen([sys.executable, "-c", loop])
    try:
        yield
    finally:
        child.kill()
        child.wait()
        os.sched_setaffinity(0, allowed)


def rss_of(pid):
    """Returns the resident memory of a process in bytes."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def received(connection, buffer):
    """Reads one HTTP message and returns its head and body, or None if the peer has closed.
    `buffer` keeps the rest."""
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        if not (more := connection.recv(65536)):
            return None
        buffer += more
    head = bytes(buffer[:end])
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(buffer) < end + 4 + length:
        if not (more := connection.recv(65536)):
            return None
        buffer += more
    body = bytes(buffer[end + 4 : end + 4 + length])
    del buffer[: end + 4 + length]
    return head, body


class Function:
    """A function process. The constructor returns when it has asked for its first event. Its log
    goes through a pipe."""

    def __init__(self, command, environment):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        environment = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.listener.getsockname()[1]}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            **environment,
        }
        log, out = os.pipe()
        # Spawns instead of forking: the CPU that Python uses between a fork and the exec would
        # count as the function's.
        self.pid = os.posix_spawnp(
            command[0],
            command,
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)],
        )
        os.close(out)
        self.output = bytearray()
        self.reader = threading.Thread(target=self.read, args=(log,), daemon=True)
        self.reader.start()
        self.run()
        self.start_up = cpu_of(self.pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self.pid, 15)
        _, _, usage = os.wait4(self.pid, 0)
        self.faults = usage.ru_minflt
        self.reader.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()

    def read(self, log):
        with open(log, "rb", buffering=0) as pipe:
            while more := pipe.read(65536):
                self.output += more

    def run(self):
        """Serves the function until it asks for the next event. Returns its answer to the last
        one."""
        answer = None
        while True:
            ready = self.selector.select(30)
            if not ready:
                raise AssertionError(f"{self.pid} hangs; its output: {self.output.decode()}")
            for key, _ in ready:
                if key.fileobj is self.listener:
                    connection, _ = self.listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.selector.register(connection, selectors.EVENT_READ, bytearray())
                    continue
                message = received(key.fileobj, key.data)
                if message is None:
                    self.selector.unregister(key.fileobj)
                    key.fileobj.close()
                    continue
                head, body = message
                if head.startswith(b"GET /2018-06-01/runtime/invocation/next "):
                    self.waiting = key.fileobj
                    return answer
                self.answered = time.perf_counter_ns()
                if b"/response " not in head.split(b"\r\n")[0]:
                    raise AssertionError(f"{head.decode()} {body.decode()}; its output: {self.output.decode()}")
                answer = body
                key.fileobj.sendall(ACCEPTED)

    def invoke(self, event):
        """Sends an event and returns the answer. `wall` is then the time until the answer
        arrived, in nanoseconds."""
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            "Lambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\n"
            f"Lambda-Runtime-Deadline-Ms: {time.time_ns() // 1_000_000 + 10_000}\r\n"
            "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-central-1:123456789012:function:bench\r\n"
            "Lambda-Runtime-Trace-Id: Root=1-6b00df01-000000000000000000000001;Parent=53995c3f42cd8ad8;Sampled=0\r\n"
            f"Content-Length: {len(event)}\r\n\r\n"
        )
        sent = time.perf_counter_ns()
        self.waiting.sendall(head.encode() + event)
        answer = self.run()
        self.wall = self.answered - sent
        return answer

    def cpu_of_each(self, events):
        """Sends events, all of which must be answered 200. Returns the nanoseconds of CPU of
        each, on average, and the answers."""
        before = cpu_of(self.pid)
        answers = [self.invoke(event) for event in events]
        cpu = (cpu_of(self.pid) - before) / len(answers)
        assert all(json.loads(answer)["statusCode"] == 200 for answer in answers), answers
        return cpu, answers
