"""A function binary below a Lambda Runtime API of a few lines, and what the kernel says the process has cost.

One thread and bare sockets, so that little of a wall time is this program's own; the CPU is the function's alone."""

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
    """The nanoseconds that all threads of a process have run, those that have ended among them: the sum of what
    /proc/PID/task/TID/schedstat says of each. A process's CPU clock, as clock_getcpuclockid(3) names it."""
    return time.clock_gettime_ns((~pid << 3) | 2)


@contextlib.contextmanager
def one_processor_awake():
    """Keeps this program, and all that it starts meanwhile, to one processor, which a loop that gives way to everything
    keeps from halting. What a virtual machine's host takes to wake a processor is booked on whoever is woken: where the two
    ends of a socket are on two processors, or on one that halts, hello world costs up to three times as much."""
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
    """The memory that a process has, in bytes."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def received(connection, buffer):
    """One HTTP message, its head and its body; None where the other side has closed. `buffer` keeps what follows."""
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
    """Has asked for its first event when it has been made. What it logs goes into a pipe, and is read from it."""

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
        # Spawned, not forked: what Python does between a fork and the exec would count as the function's.
        self.pid = os.posix_spawnp(
            command[0],
            command,
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)],
        )
        os.close(out)
        self.said = bytearray()
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
                self.said += more

    def run(self):
        """Until it asks for the next event: what it has answered on the way."""
        answer = None
        while True:
            ready = self.selector.select(30)
            if not ready:
                raise AssertionError(f"{self.pid} hangs, having said: {self.said.decode()}")
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
                    self.asks = key.fileobj
                    return answer
                self.answered = time.perf_counter_ns()
                if b"/response " not in head.split(b"\r\n")[0]:
                    raise AssertionError(f"{head.decode()} {body.decode()}, having said: {self.said.decode()}")
                answer = body
                key.fileobj.sendall(ACCEPTED)

    def invoke(self, event):
        """The answer to an event. The wall time until it was here is then in `wall`, in nanoseconds."""
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            "Lambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\n"
            f"Lambda-Runtime-Deadline-Ms: {time.time_ns() // 1_000_000 + 10_000}\r\n"
            "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-central-1:123456789012:function:bench\r\n"
            "Lambda-Runtime-Trace-Id: Root=1-6b00df01-000000000000000000000001;Parent=53995c3f42cd8ad8;Sampled=0\r\n"
            f"Content-Length: {len(event)}\r\n\r\n"
        )
        sent = time.perf_counter_ns()
        self.asks.sendall(head.encode() + event)
        answer = self.run()
        self.wall = self.answered - sent
        return answer

    def cpu_of_each(self, events):
        """The nanoseconds of CPU that an invocation takes, and the answers, all of which are 200."""
        before = cpu_of(self.pid)
        answers = [self.invoke(event) for event in events]
        cpu = (cpu_of(self.pid) - before) / len(answers)
        assert all(json.loads(answer)["statusCode"] == 200 for answer in answers), answers
        return cpu, answers
