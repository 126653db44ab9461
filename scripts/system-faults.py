#!/usr/bin/env python3
"""Faults of the real system, one at a time, in commands of the built tool: a full and a read-only file system, and every
system call that concerns the files, failing by strace. After each: an exit code that is the tool's, the destination as it was
or the new file whole, and nothing left that the next save does not remove.

Usage: system-faults.py CKPT-TOOL   (needs strace, and unshare with user namespaces or root)
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

TOOL = os.path.realpath(sys.argv[1])
# What disks, quotas and signals make of a call; a short read or write is a return value.
ERRORS = ["EIO", "ENOSPC", "EDQUOT", "EINTR"]
CALLS = ["openat", "read", "pread64", "write", "pwrite64", "fsync", "close", "lseek", "newfstatat", "fstat", "fcntl", "fchmod",
         "rename", "renameat", "renameat2", "link", "unlink", "unlinkat", "getdents64", "readlink"]
failures: list[str] = []
counts = {"tried": 0, "failed": 0, "succeeded": 0}


def run(command: list[str], **options) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def sound(path: str) -> bool:
    return run([TOOL, "verify", path]).returncode == 0


def bytes_of(path: str) -> bytes | None:
    if not os.path.exists(path):
        return None
    with open(path, "rb") as file:
        return file.read()


def leftovers(folder: str) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".nnstore-")]


class Command:
    """A command that writes `destination`, and the folder that it is run in, made anew for each fault."""

    def __init__(self, name: str, files: dict[str, str], arguments: list[str], destination: str | None):
        self.name, self.files, self.arguments, self.destination = name, files, arguments, destination
        self.folder = tempfile.mkdtemp(prefix="system-faults-")

    def prepare(self) -> None:
        shutil.rmtree(self.folder)
        os.mkdir(self.folder)
        for name, source in self.files.items():
            shutil.copy(source, os.path.join(self.folder, name))

    @property
    def command(self) -> list[str]:
        return [TOOL, *(argument.replace("@", self.folder) for argument in self.arguments)]

    def calls(self) -> list[tuple[str, int]]:
        """The system calls of the main thread that concern the folder: name and number among those of its name."""
        self.prepare()
        log = os.path.join(tempfile.gettempdir(), f"strace-{os.getpid()}")
        run(["strace", "-f", "-y", "-o", log, "-e", "trace=" + ",".join(CALLS), *self.command])
        numbers: dict[str, int] = {}
        found = []
        main = None
        with open(log, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                match = re.match(r"(\d+) +(\w+)\((.*)", line)
                if not match:
                    continue
                main = main or match[1]
                if match[1] != main:
                    continue
                numbers[match[2]] = numbers.get(match[2], 0) + 1
                # What is said of the files on standard output and standard error is another matter.
                if self.folder in match[3] and not re.match(r"[12]<", match[3]):
                    found.append((match[2], numbers[match[2]]))
        os.remove(log)
        return found

    def check(self, what: str, before: bytes | None, result: subprocess.CompletedProcess) -> None:
        counts["tried"] += 1
        counts["failed" if result.returncode else "succeeded"] += 1
        if result.returncode not in (0, 1, 2):
            failures.append(f"{what}: exit code {result.returncode}: {result.stderr[-300:]}")
        if result.returncode and not result.stderr.startswith("error: ") and not result.stdout:
            failures.append(f"{what}: says {result.stderr[-300:]!r}")
        if self.destination:
            path = os.path.join(self.folder, self.destination)
            after = bytes_of(path)
            replaced = "in place and whole" in result.stderr
            if result.returncode and after != before and not replaced:
                failures.append(f"{what}: failed, and the destination changed")
            if (not result.returncode or replaced) and not sound(path):
                failures.append(f"{what}: the destination is not sound")
        if leftovers(self.folder):
            run([TOOL, "import", self.small, "-o", os.path.join(self.folder, "next.nnck")])
            if left := leftovers(self.folder):
                failures.append(f"{what}: left {left} for ever")

    small = ""

    def inject(self) -> None:
        for call, number in self.calls():
            kinds = [f"error={error}" for error in ERRORS]
            if call in ("read", "pread64", "write", "pwrite64"):
                kinds.append("retval=0" if "read" in call else "error=EAGAIN")
            for kind in kinds:
                self.prepare()
                before = bytes_of(os.path.join(self.folder, self.destination)) if self.destination else None
                what = f"{self.name}: {call} number {number}, {kind}"
                try:
                    result = run(["strace", "-f", "-o", "/dev/null", "-e", "trace=" + call, "-e",
                                  f"inject={call}:{kind}:when={number}", *self.command])
                except subprocess.TimeoutExpired:
                    failures.append(f"{what}: hangs")
                    continue
                self.check(what, before, result)
        shutil.rmtree(self.folder)


def small_file_systems(model: str, container: str) -> None:
    """A file system without room, and one that can't be written to; each in a mount namespace of its own."""
    for name, mount, fills in [("full", "size=1m", True), ("read-only", "size=64m", False)]:
        for command in ["import", "migrate"]:
            script = f"""
                set -e
                mount -t tmpfs -o {mount} test /mnt
                cp {container} /mnt/old.nnck
                {"" if fills else "mount -o remount,ro /mnt"}
                sum=$(sha256sum < /mnt/old.nnck)
                {"head -c 2M /dev/zero > /mnt/filling 2>/dev/null || true" if fills else ""}
                set +e
                {TOOL} {"import " + model + " -o /mnt/old.nnck --force" if command == "import"
                        else "migrate --in-place --to 1 /mnt/old.nnck"}
                echo "code $?"
                [ "$sum" = "$(sha256sum < /mnt/old.nnck)" ] && echo unchanged
                ls -a /mnt | grep -c nnstore- | sed 's/^/left /'
            """
            namespace = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-r", "-m"]
            result = run([*namespace, "bash", "-c", script])
            counts["tried"] += 1
            counts["failed"] += 1
            expected = "No space left on device" if fills else "Read-only file system"
            good = ("code 2" in result.stdout and "unchanged" in result.stdout and "left 0" in result.stdout
                    and expected in result.stderr)
            if not good:
                failures.append(f"{name} file system, {command}: {result.stdout} {result.stderr}")


def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        values = os.path.join(data, "model.safetensors")
        header = b'{"a":{"dtype":"F32","shape":[400000],"data_offsets":[0,1600000]}}'
        with open(values, "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + os.urandom(1600000))
        container, small = os.path.join(data, "model.nnck"), os.path.join(data, "small.safetensors")
        header = b'{"a":{"dtype":"F32","shape":[100],"data_offsets":[0,400]}}'
        with open(small, "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + os.urandom(400))
        run([TOOL, "import", small, "-o", container], check=True)
        Command.small = small
        small_file_systems(values, container)
        for command in [
            Command("import", {"in.safetensors": values}, ["import", "@/in.safetensors", "-o", "@/out.nnck"], "out.nnck"),
            Command("import over", {"in.safetensors": values, "out.nnck": container},
                    ["import", "@/in.safetensors", "-o", "@/out.nnck", "--force"], "out.nnck"),
            Command("migrate", {"out.nnck": container}, ["migrate", "--in-place", "--to", "1", "@/out.nnck"], "out.nnck"),
            Command("export", {"in.nnck": container}, ["export", "@/in.nnck", "-o", "@/out.safetensors"], "out.safetensors"),
            Command("verify", {"in.nnck": container}, ["verify", "@/in.nnck"], None),
            Command("list", {"in.nnck": container}, ["list", "--digest", "--json", "@/in.nnck"], None),
        ]:
            command.inject()
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"{counts['tried']} faults of the system: after {counts['failed']} the command failed as it should, after "
          f"{counts['succeeded']} it did its work all the same; {len(failures)} were handled wrongly")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
