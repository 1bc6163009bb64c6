#!/usr/bin/env python3
"""Counts what makes the code hard or easy to enter: rings of modules, long files, SQL files, comments.

    python3 docs/benchmarks/house.py [COMMIT]

Without a commit it counts the files of the working tree; with one, those of that commit (`git archive`). Prints a
Markdown table. Needs Python 3 alone.
"""
import io
import re
import subprocess
import sys
import tarfile
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIRST = r"What|Whether|Where|Who|Whose|Of|Its|How|Which|When|Why"
COUNTED = r"bytes|rows?|events|lines|files?|sessions|queries|requests|look-ups|seconds|connections|actors"
OVER = r"event|batch|scope|tenant|projection|node|line|command|backend|trace|row|page|statement|migration"


def read(commit):
    """Path and text of every Rust, SQL and Markdown file."""
    if commit is None:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in listed.splitlines():
            if name.endswith((".rs", ".sql", ".md")) and (ROOT / name).exists():
                yield name, (ROOT / name).read_text(encoding="utf-8")
        return
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            if member.isfile() and member.name.endswith((".rs", ".sql", ".md")):
                yield member.name, tar.extractfile(member).read().decode("utf-8")


def largest_ring(edges):
    """Size of the largest strongly connected component (Tarjan)."""
    index, low, stack, on, best, counter = {}, {}, [], set(), 0, [0]

    def visit(node):
        nonlocal best
        index[node] = low[node] = counter[0]
        counter[0] += 1
        stack.append(node)
        on.add(node)
        for other in edges.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in on:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            size = 0
            while True:
                member = stack.pop()
                on.discard(member)
                size += 1
                if member == node:
                    break
            best = max(best, size)

    for node in list(edges):
        if node not in index:
            visit(node)
    return best


def module(name):
    """The crate and the top module of a source of `actors/`; None for others."""
    at = re.match(r"actors/(?:(\w+)/)?src/(?:bin/\w+/)?(.+)", name)
    if not at or "/bin/" in name:
        return None
    return at.group(1) or "actors", at.group(2).split("/")[0].removesuffix(".rs")


def ring(files):
    edges = defaultdict(set)
    modules = {module(name) for name in files if module(name)}
    for name, text in files.items():
        here = module(name)
        if not here or here[1] in ("lib", "main"):
            continue
        edges[here]
        for group in re.findall(r"\bcrate::(\{[^;]*?\};|\w+)", text):
            names = re.findall(r"(?:^\{|,)\s*(\w+)", re.sub(r"\{[^{}]*\}(?!;)", "", group)) if group[0] == "{" else [group]
            edges[here] |= {(here[0], other) for other in names if (here[0], other) in modules and other != here[1]}
    return largest_ring(edges), len(edges)


def main():
    files = dict(read(sys.argv[1] if len(sys.argv) > 1 else None))
    rust = {name: text for name, text in files.items() if name.endswith(".rs")}
    product = {name: text for name, text in rust.items() if "/src/" in name and not name.startswith("parity/")}
    sql = [name for name in files if name.endswith(".sql") and "/sql/" in name]
    names = Counter(Path(name).name for name in sql)
    comments = [line.strip() for text in rust.values() for line in text.splitlines() if line.lstrip().startswith("//")]
    found = ring(product)
    rows = [
        ("largest ring of modules of `actors/`, of how many modules", f"{found[0]} of {found[1]}"),
        ("lines of the product (`src`, without parity)", f"{sum(text.count(chr(10)) for text in product.values()):,}"),
        ("files of the product above 400 lines", sum(text.count("\n") > 400 for text in product.values())),
        ("SQL files, names shared by both backends", f"{len(sql)}, {sum(count > 1 for count in names.values())}"),
        ("calls of `unexpected()`", sum(len(re.findall(r"\bunexpected\(", text)) for text in product.values())),
        ("lines that name `Shared`", sum(len(re.findall(r"\bShared\b", text)) for text in product.values())),
        ("calls of `set_*` and `poke_*` of `Shared`", sum(
            len(re.findall(r"\.(?:set_cluster|set_high_water|set_replay|set_job_supervisor|poke_\w+)\(", text))
            for text in product.values())),
        ("callers of `acquire_scope`", sum(
            len(re.findall(r"\.acquire_scope\(", text)) for name, text in product.items() if name.startswith("actors"))),
        ("doc comments that begin with a question word, `Of` or `Its`", sum(
            bool(re.match(rf"//[/!]\s*(?:{FIRST})\b", line)) for line in comments)),
        ("comments with a distributive article", sum(
            bool(re.search(rf"\b(?:{COUNTED}) an? (?:{OVER})\b", line)) for line in comments)),
        ("comment lines beyond 120 columns", sum(
            len(line) > 120 for text in rust.values() for line in text.splitlines() if line.lstrip().startswith("//"))),
        ("lines of the README", files["README.md"].count("\n")),
    ]
    print("| measure | count |\n|---|---|")
    for what, count in rows:
        print(f"| {what} | {count} |")


if __name__ == "__main__":
    main()
