"""Holds NNStore against what else a user would take, and writes the table of ratios to Benchmarks/RESULTS.md.

    .build-bench-venv/bin/python Benchmarks/prepare.py --out .build-bench-data
    .build-bench-venv/bin/python Benchmarks/compare.py [--program nnstore-bench] [--quick]

Needs the data sets of prepare.py, our benchmark program (which prints rows shaped as those of peers.py, with the peer
"nnstore"), and an otherwise idle machine with two cores. Both programs run in turn on the same core or cores, ours
first, in several rounds. A round's ratio is the peer's median time divided by ours (for each byte of tensors, since
ZipNN passes over small ones); the table has the median of the rounds, and the lowest and highest round in brackets.

--quick tries everything with one round of two runs and leaves RESULTS.md alone. --only DATA-SET,... takes some of the
data sets. The rows are kept as compare-rows.jsonl in the scratch folder; --from-rows FILE makes the table of such a file
again, without measuring.
"""

import argparse
import ctypes
import json
import os
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OURS = "nnstore"
MIB = 1 << 20


# --- What is compared


@dataclass(frozen=True)
class Pair:
    """A row of the table: an op of ours, what it is held against, and what it has to reach."""

    data: str
    group: str  # what is run in the same turns
    what: str
    op: str
    cores: int = 1
    against: tuple[tuple[str, str], ...] = ()  # (peer, op); of several the fastest counts
    target: float | None = None
    kind: str = "speed"  # or "size", "memory", "cores"
    compression: str | None = None


def codec(data: str, size: float | None = None, encode: float | None = None, decode: float | None = None) -> list[Pair]:
    """Size, encoding and decoding in memory, against ZipNN on one core."""
    ratio = (("zipnn", "ratio"),)
    return [
        Pair(data, "memory", "size, fast", "ratio", 1, ratio, size, "size", "fast"),
        Pair(data, "memory", "size, smallest", "ratio", 1, ratio, None, "size", "smallest"),
        *coding(data, encode, decode),
    ]


def coding(data: str, encode: float | None, decode: float | None) -> list[Pair]:
    """Encoding and decoding in memory, against ZipNN on one core."""
    targets = {"encode (memory)": encode, "decode (memory)": decode}
    return [Pair(data, "memory", op, op, 1, (("zipnn", op),), target) for op, target in targets.items()]


def scaling(data: str) -> list[Pair]:
    """Two cores: against ZipNN with two threads, and against one core of ours."""
    pairs = []
    for op in ("encode (memory)", "decode (memory)"):
        pairs += [
            Pair(data, "memory", op, op, 2, (("zipnn", op),)),
            Pair(data, "memory", op, op, 2, ((OURS, op),), 1.8, "cores"),
        ]
    return pairs


def against(data: str, group: str, op: str, cores: int, targets: dict[str, float | None], what: str = "") -> list[Pair]:
    """One op of ours against the op of that name of several peers."""
    theirs = op.removesuffix(" none")
    return [
        Pair(data, group, what or op, op, cores, tuple((one, theirs) for one in peer.split("|")), target)
        for peer, target in targets.items()
    ]


PAIRS = [
    *codec("mix-bf16", size=0.672, encode=1.4, decode=2.7),
    *codec("mix-fp32", size=0.757, encode=1.5, decode=2.0),
    *codec("weights-bf16", size=0.672, encode=1.4, decode=2.7),
    *scaling("weights-bf16"),
    Pair("weights-bf16", "lmz", "size, smallest", "ratio", 1, (("lmz", "ratio"),), None, "size", "smallest"),
    Pair("weights-bf16", "lmz", "save (lmz: with starting it)", "save", 1, (("lmz", "save (process)"),)),
    Pair("weights-bf16", "lmz", "load (lmz: to a file)", "load", 1, (("lmz", "load (process)"),)),
    *codec("weights-fp32", size=0.757, encode=1.5, decode=2.0),
    *scaling("weights-fp32"),
    *codec("weights-fp16"),
    *codec("adam"),
    # As large as models are; the ones above are small enough for fixed costs to show.
    *coding("llama-1g", encode=1.4, decode=2.7),
    *scaling("llama-1g"),
    *against("llama-1g", "save", "save+fsync", 2, {"safetensors": 1.6, "torch": 2.3}),
    *against("llama-1g", "save", "save+fsync none", 2, {"safetensors": 1.0}, "save+fsync, none"),
    *against("llama-1g", "load", "load", 2, {"safetensors": 1.8, "torch": 0.8}),
    *against("llama-1g", "load", "load", 2, {"safetensors-pread": None, "torch-mmap": None}),
    *against("llama-1g", "load", "load none", 2, {"safetensors": 2.5}, "load, none"),
    *against("llama-1g", "load 1", "load", 1, {"safetensors": None, "torch": None}),
    *against("llama-1g", "open", "open+one none", 1, {"safetensors": 1.0}, "open+one, none, mapped"),
    *against("llama-1g", "open", "open+one", 1, {"safetensors": None, "torch-mmap": None}),
    Pair("llama-1g", "verify", "verify", "verify", 2),
    Pair("llama-1g", "save", "extra memory while saving", "save", 2, (), 64, "memory"),
    Pair("llama-1g", "load", "extra memory while loading", "load", 2, (), 64, "memory"),
    *against("tiny-100k", "open", "open+one", 1, {"safetensors": 20.0}),
    *against("tiny-100k", "list", "list", 2, {"safetensors|safetensors-json": 2.0}),
    *against("tiny-100k", "tiny", "save+fsync", 1, {"safetensors": None}),
    *against("tiny-100k", "tiny", "load", 1, {"safetensors|safetensors-pread": None}),
]


# --- Running


@dataclass(frozen=True)
class Turn:
    """One start of one of the two programs."""

    ours: bool
    data: str
    cores: int
    only: tuple[str, ...]
    ops: tuple[str, ...]


def steps(pairs: list[Pair]) -> list[list[Turn]]:
    """The turns that are repeated round after round: ours and the peers' on one core, then on two."""
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        groups.setdefault((pair.data, pair.group), []).append(pair)
    result = []
    for (data, _), members in groups.items():
        turns = []
        for cores in (1, 2):
            here = [pair for pair in members if pair.cores == cores]
            ours = unique(pair.op for pair in here if pair.kind != "memory")
            theirs = [peer for pair in here for peer in pair.against if peer[0] != OURS]
            if ours:
                turns.append(Turn(True, data, cores, (), ours))
            if theirs:
                turns.append(Turn(False, data, cores, unique(p for p, _ in theirs), unique(op for _, op in theirs)))
        result.append(turns)
    return result


def unique(items) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


class Runner:
    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.available = sorted(os.sched_getaffinity(0))
        self.rows: list[dict] = []
        self.failures: dict[str, None] = {}

    def pinned(self, cores: int) -> list[str]:
        return ["taskset", "-c", ",".join(map(str, self.available[:cores]))]

    def command(self, turn: Turn) -> list[str]:
        arguments = self.arguments
        program = [str(arguments.program)] if turn.ours else [sys.executable, str(HERE / "peers.py")]
        options = ["--dir", str(arguments.dir), "--runs", str(arguments.runs), "--threads", str(turn.cores)]
        if turn.only:
            options += ["--only", ",".join(turn.only)]
        return [*self.pinned(turn.cores), *program, str(self.file(turn)), *options, "--ops", ",".join(turn.ops)]

    def shown(self, turn: Turn) -> str:
        """The command as anybody could type it."""
        words = self.command(turn)
        places = {
            str(self.arguments.program): "nnstore-bench",
            sys.executable: "python",
            str(HERE / "peers.py"): "Benchmarks/peers.py",
            str(self.file(turn)): self.file(turn).name,
            str(self.arguments.dir): "SCRATCH",
        }
        return " ".join(places.get(word) or shlex.quote(word) for word in words)

    def file(self, turn: Turn) -> Path:
        return self.arguments.data / f"{turn.data}.safetensors"

    def fail(self, turn: Turn, reason: str) -> None:
        for place, word in ((self.arguments.dir, "SCRATCH"), (self.arguments.data, "DATA"), (ROOT, ".")):
            reason = reason.replace(str(place), word)
        who = "nnstore-bench" if turn.ours else "peers.py"
        message = f"{who} on {turn.data}, {turn.cores} core(s), {', '.join(turn.ops)}: {reason}"
        if message not in self.failures:
            print(message, file=sys.stderr, flush=True)
        self.failures[message] = None

    def run(self, turn: Turn, round: int) -> None:
        if len(self.available) < turn.cores:
            return self.fail(turn, "this machine lets us have one core only")
        if not self.file(turn).exists():
            return self.fail(turn, "the data set is missing; prepare.py makes it")
        os.sync()  # what the last program wrote must not be written at this one's cost
        try:
            done = subprocess.run(self.command(turn), capture_output=True, text=True, timeout=self.arguments.timeout)
            output, errors, problem = done.stdout, done.stderr, f"exit code {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired as expired:
            output, errors, problem = expired.stdout or b"", "", f"stopped after {self.arguments.timeout} s"
            output = output.decode() if isinstance(output, bytes) else output
        except OSError as error:
            output, errors, problem = "", "", str(error)
        found = 0
        for line in output.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and "peer" in row and "op" in row:
                found += 1
                self.keep({"round": round, "data": turn.data, "cores": turn.cores, **row})
        last = errors.strip().splitlines()[-1:] or [""]
        if problem:
            self.fail(turn, f"{problem} {last[0]}".strip())
        elif not found or last[0].endswith(("not installed", "the same")):
            self.fail(turn, last[0] or "no rows")

    def keep(self, row: dict) -> None:
        self.rows.append(row)
        with open(self.arguments.dir / "compare-rows.jsonl", "a") as file:
            file.write(json.dumps(row) + "\n")

    def run_all(self, all_steps: list[list[Turn]]) -> None:
        for number, turns in enumerate(all_steps, 1):
            print(f"{number} of {len(all_steps)}: {turns[0].data}: {', '.join(turns[0].ops)}", file=sys.stderr, flush=True)
            for round in range(self.arguments.rounds):
                for turn in turns:
                    self.run(turn, round)


# --- The table


class Table:
    def __init__(self, rows: list[dict]):
        self.rows = rows
        self.rounds = sorted({row["round"] for row in rows})

    def find(self, round: int, data: str, cores: int, peer: str, op: str, compression: str | None = None) -> dict | None:
        matching = [
            row
            for row in self.rows
            if (row["round"], row["data"], row["cores"], row["peer"], row["op"]) == (round, data, cores, peer, op)
        ]
        if compression:
            matching = [row for row in matching if row.get("compression") == compression]
        # Where a program reports several compressions for an op, the default one is meant.
        matching.sort(key=lambda row: row.get("compression") not in (None, "fast"))
        return matching[0] if matching else None

    def ours(self, pair: Pair, round: int) -> dict | None:
        return self.find(round, pair.data, pair.cores, OURS, pair.op, pair.compression)

    def lines(self, pairs: list[Pair]) -> tuple[list[str], list[str]]:
        """The table, and a sentence for each row that missed its target or was not measured."""
        head = ["data set", "what", "cores", "NNStore", "peer", "its value", "ratio", "target", "", "our file"]
        lines = ["| " + " | ".join(head) + " |", "| --- | --- | ---: | ---: | --- | ---: | ---: | ---: | --- | ---: |"]
        remarks = []
        for pair in pairs:
            cells, verdict = self.row(pair)
            lines.append("| " + " | ".join([pair.data, pair.what, str(pair.cores), *cells]) + " |")
            if verdict in ("MISSED", "missing"):
                value = cells[0] if pair.kind in ("size", "memory") else cells[3] or "no ratio"
                peer = f" against {cells[1]}" if cells[1] else ""
                where = f"{pair.data}, {pair.what}, {pair.cores} core(s){peer}"
                remarks.append(f"{verdict}: {where}: {value}, target {cells[4] or 'none'}")
        return lines, remarks

    def row(self, pair: Pair) -> tuple[list[str], str]:
        return {"speed": self.speed, "cores": self.speed, "size": self.size, "memory": self.memory}[pair.kind](pair)

    def speed(self, pair: Pair) -> tuple[list[str], str]:
        ours, theirs, ratios, names = [], [], [], []
        for round in self.rounds:
            mine = self.ours(pair, round)
            cores = 1 if pair.kind == "cores" else pair.cores
            rivals = [self.find(round, pair.data, cores, peer, op) for peer, op in pair.against]
            rival = min((row for row in rivals if usable(row)), key=lambda row: row["median_s"], default=None)
            if usable(mine):
                ours.append(mine)
            if rival:
                theirs.append(rival)
                names.append(rival["peer"])
            if usable(mine) and rival:
                ratios.append(seconds_per_byte(rival) / seconds_per_byte(mine))
        target = f"≥ {pair.target:g}" if pair.target else ""
        name = "/".join(unique(names) or unique(peer for peer, _ in pair.against))
        if pair.kind == "cores":
            name = "NNStore, 1 core"
        cells = [speed_cell(ours), name, speed_cell(theirs) if pair.against else ""]
        if not pair.against:
            return [*cells, "", target, "" if ours else "missing", file_cell(ours)], "" if ours else "missing"
        if not ratios:
            return [*cells, "", target, "missing", file_cell(ours)], "missing"
        verdict = judge(statistics.median(ratios), pair.target, at_least=True)
        return [*cells, ratio_cell(ratios), target, shown(verdict), file_cell(ours)], verdict

    def size(self, pair: Pair) -> tuple[list[str], str]:
        mine = last(self.ours(pair, round) for round in self.rounds)
        ((peer, op),) = pair.against
        rival = last(self.find(round, pair.data, pair.cores, peer, op) for round in self.rounds)
        target = f"≤ {pair.target:g}" if pair.target else ""
        share, other = (stored_share(row) if row else None for row in (mine, rival))
        cells = ["missing" if share is None else f"{share:.4f}", peer, "missing" if other is None else f"{other:.4f}"]
        quotient = f"{other / share:.3f}" if share and other else ""
        if share is None or (other is None and pair.target is None):
            verdict = "missing"
        else:
            verdict = judge(share, pair.target, at_least=False)
        return [*cells, quotient, target, shown(verdict), file_cell([mine] if mine else [])], verdict

    def memory(self, pair: Pair) -> tuple[list[str], str]:
        """The most that any row of this op reported, on any number of cores and with any compression."""
        peaks = [
            row["peak_extra_bytes"]
            for row in self.rows
            if row["data"] == pair.data and row["peer"] == OURS and row["op"].startswith(pair.op)
            if isinstance(row.get("peak_extra_bytes"), (int, float))
        ]
        target = f"≤ {pair.target:g} MiB"
        if not peaks:
            return ["missing", "", "", "", target, "missing", ""], "missing"
        most = max(peaks) / MIB
        verdict = judge(most, pair.target, at_least=False)
        return [f"{most:.1f} MiB", "", "", "", target, shown(verdict), ""], verdict


def usable(row: dict | None) -> bool:
    return bool(row and row.get("median_s") and row.get("logical_bytes"))


def seconds_per_byte(row: dict) -> float:
    return row["median_s"] / row["logical_bytes"]


def stored_share(row: dict) -> float | None:
    if row.get("file_bytes") and row.get("logical_bytes"):
        return row["file_bytes"] / row["logical_bytes"]
    return row.get("ratio")


def last(items) -> dict | None:
    found = [item for item in items if item]
    return found[-1] if found else None


def judge(value: float, target: float | None, at_least: bool) -> str:
    if target is None:
        return ""
    return "reached" if (value >= target if at_least else value <= target) else "MISSED"


def shown(verdict: str) -> str:
    return f"**{verdict}**" if verdict == "MISSED" else verdict


def speed_cell(rows: list[dict]) -> str:
    """Time, and the GB/s where all bytes are touched."""
    if not rows:
        return "missing"
    seconds = statistics.median(row["median_s"] for row in rows)
    time = f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
    if rows[0]["op"].startswith(("open", "list")) or rows[0]["logical_bytes"] < 10e6:
        return time
    return f"{rows[0]['logical_bytes'] / seconds / 1e9:.2f} GB/s ({time})"


def ratio_cell(ratios: list[float]) -> str:
    text = f"{statistics.median(ratios):.2f}"
    return f"{text} [{min(ratios):.2f}, {max(ratios):.2f}]" if len(ratios) > 1 else text


def file_cell(rows: list[dict]) -> str:
    row = last(rows)
    if not row or not row.get("file_bytes") or not row.get("logical_bytes"):
        return ""
    return f"{row['file_bytes'] / 1e6:,.1f} MB, {row['file_bytes'] / row['logical_bytes']:.4f}"


# --- What it was measured on


def output_of(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout
    except OSError:
        return ""


def read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def file_system(folder: Path) -> str:
    """Kind and options of the mount that a folder lies on."""
    best: tuple[int, str] = (-1, "unknown")
    for line in read("/proc/self/mounts").splitlines():
        _, mount, kind, options, *_ = line.split()
        mount = mount.encode().decode("unicode_escape")
        if folder.resolve().is_relative_to(mount) and len(mount) >= best[0]:
            best = (len(mount), f"{kind} ({options})")
    return best[1]


def machine(arguments: argparse.Namespace) -> list[str]:
    fields = dict(re.findall(r"^([^:]+):\s+(.*)$", output_of("lscpu"), re.MULTILINE))
    memory = re.search(r"MemTotal:\s+(\d+)", read("/proc/meminfo"))
    virtual = f", virtual ({fields['Hypervisor vendor']})" if "Hypervisor vendor" in fields else ""
    huge = re.search(r"\[(\w+)\]", read("/sys/kernel/mm/transparent_hugepage/enabled"))
    return [
        f"- processor: {fields.get('Model name') or platform.machine()}{virtual}",
        f"- cores: {len(os.sched_getaffinity(0))}, {fields.get('Thread(s) per core', '?')} thread(s) a core",
        f"- memory: {int(memory[1]) / MIB:.1f} GiB" if memory else "- memory: unknown",
        f"- transparent huge pages: {huge[1] if huge else 'unknown'}",
        f"- kernel: {platform.system()} {platform.release()}",
        f"- file system of the scratch folder: {file_system(arguments.dir)}",
    ]


def zstd_version() -> str:
    try:
        library = ctypes.CDLL("libzstd.so.1")
        library.ZSTD_versionString.restype = ctypes.c_char_p
        return library.ZSTD_versionString().decode()
    except OSError:
        return "missing"


def package_version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def versions() -> str:
    swift = re.search(r"Swift version (\S+)", output_of("swift", "--version"))
    found = {"swift": swift[1] if swift else "missing", "libzstd": zstd_version(), "python": platform.python_version()}
    found |= {name: package_version(name) for name in ("torch", "safetensors", "zipnn", "lmzip", "numpy")}
    return "- " + ", ".join(f"{name} {version}" for name, version in found.items())


def report(arguments: argparse.Namespace, runner: Runner, pairs: list[Pair]) -> str:
    table = Table(runner.rows)
    lines, remarks = table.lines(pairs)
    judged = [line for pair, line in zip(pairs, lines[2:]) if pair.target]
    missed = sum("**MISSED**" in line for line in judged)
    missing = sum("| missing |" in line for line in judged)
    commands = unique(runner.shown(turn) for turns in steps(pairs) for turn in turns)
    text = [
        "# Benchmark results",
        "",
        "Written by `compare.py`, which says how it measures; `peers.py` says what each op is. A ratio is the peer's median "
        f"time divided by ours: above 1, ours is faster. {len(table.rounds)} round(s) in turn of {arguments.runs} runs; the "
        "lowest and the highest round stand in brackets. Sizes and memory are absolute; sizes are shares of the tensors' "
        "bytes. Rows without a target are for information. Compression is fast where nothing else is said.",
        "",
        f"Of {len(judged)} targets {len(judged) - missed - missing} are reached, {missed} missed, {missing} not measured.",
        "",
        *lines,
        "",
    ]
    if remarks:
        text += ["## Missed or not measured", "", *(f"- {remark}" for remark in remarks), ""]
    if runner.failures:
        text += ["## What did not run", "", *(f"- {failure}" for failure in runner.failures), ""]
    text += ["## Machine", "", *machine(arguments), "", "## Versions", "", versions(), "", "## Commands", ""]
    text += ["In turn, on the files that `prepare.py` makes:", "", "```", *commands, "```", ""]
    return "\n".join(text)


# --- The command


def main() -> int:
    parser = argparse.ArgumentParser(description="Compares NNStore with its peers.")
    program, data, scratch = HERE / ".build/release/nnstore-bench", ROOT / ".build-bench-data", ROOT / ".build-bench-scratch"
    out = "file to write (default: RESULTS.md beside this file; with --quick or --only in the scratch folder)"
    parser.add_argument("--program", type=Path, default=program, help="our benchmark program")
    parser.add_argument("--data", type=Path, default=data, help="where prepare.py put the data sets")
    parser.add_argument("--dir", type=Path, default=scratch, help="scratch folder, on the disk to measure")
    parser.add_argument("--out", type=Path, help=out)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each op in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timeout", type=int, default=900, metavar="SECONDS", help="for one start of a program")
    parser.add_argument("--only", metavar="DATA-SET,...", help="these data sets")
    parser.add_argument("--quick", action="store_true", help="one round of two runs")
    parser.add_argument("--from-rows", type=Path, metavar="FILE", help="measure nothing; make the table of these rows")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.runs, arguments.rounds = 2, 1
    arguments.program = Path(shutil.which(arguments.program) or arguments.program).absolute()
    arguments.data, arguments.dir = arguments.data.absolute(), arguments.dir.absolute()
    arguments.dir.mkdir(parents=True, exist_ok=True)

    known = unique(pair.data for pair in PAIRS)
    chosen = arguments.only.split(",") if arguments.only else known
    if unknown := set(chosen) - set(known):
        parser.error(f"unknown data sets {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    pairs = [pair for pair in PAIRS if pair.data in chosen]

    runner = Runner(arguments)
    if arguments.from_rows:
        runner.rows = [json.loads(line) for line in arguments.from_rows.read_text().splitlines()]
    else:
        if not shutil.which("taskset"):
            parser.error("taskset is missing; it is in the package util-linux")
        if os.getloadavg()[0] > 0.5:
            print(f"Others use this machine: the load is {os.getloadavg()[0]:.2f}.", file=sys.stderr)
        (arguments.dir / "compare-rows.jsonl").unlink(missing_ok=True)
        runner.run_all(steps(pairs))

    partial = arguments.quick or arguments.only
    destination = arguments.out or (arguments.dir if partial else HERE) / "RESULTS.md"
    text = report(arguments, runner, pairs)
    destination.write_text(text)
    print(text)
    print(f"written to {destination}", file=sys.stderr)
    return 0 if any(row["peer"] == OURS for row in runner.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
