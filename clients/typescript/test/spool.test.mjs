// Promises of the spool: durable, bounded, nothing lost, nothing of another process touched.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdir, mkdtemp, open, readFile, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { spoolFolder } from "../dist/client.js";
import { SpoolFull } from "../dist/index.js";
import { FREE, Segment, isDead, owner } from "../dist/segments.js";
import { Spool } from "../dist/spool.js";

const SPOOL = new URL("../dist/spool.js", import.meta.url).href;
const WRITER = `
  import { writeSync } from "node:fs";
  import { Spool } from ${JSON.stringify(SPOOL)};
  const [folder, count] = process.argv.slice(1);
  const spool = await Spool.open(folder, { fsync: false });
  for (let at = 0; at < Number(count); at++) {
    await spool.append(JSON.stringify({ at, text: "x".repeat(500) }));
    writeSync(1, at + "\\n");
  }
  setInterval(() => undefined, 1000);
`;
const PYTHON_WRITER = `
import sys
from pathlib import Path
from decisiongraph_client.spool import Spool
spool = Spool(Path(sys.argv[1]))
for at in range(int(sys.argv[2])):
    spool.append(b'{"at":%d}' % at)
    print(at, flush=True)
sys.stdin.read()
`;
const PYTHON_PATH = new URL("../../python/src", import.meta.url).pathname;
const PYTHON_ENV = { PATH: process.env.PATH, PYTHONPATH: PYTHON_PATH, PYTHONUTF8: "1" };
const hasPython = spawnSync("python3", ["-c", "import decisiongraph_client"], { env: PYTHON_ENV }).status === 0;

let base;
let folder;
const spools = [];

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), "spool-"));
  folder = join(base, "spool");
});

afterEach(async () => {
  for (const spool of spools.splice(0)) await spool.close();
  await rm(base, { recursive: true });
});

async function opened(options = {}) {
  const spool = await Spool.open(folder, { fsync: false, ...options });
  spools.push(spool);
  return spool;
}

async function files() {
  return (await readdir(folder)).sort().map((name) => join(folder, name));
}

async function drained(spool) {
  const found = [];
  for (;;) {
    const batch = await spool.head(7, 4096);
    if (batch === null) return found;
    found.push(...batch.lines.map((line) => new TextDecoder().decode(line).trimEnd()));
    await spool.done(batch, batch.lines.length);
  }
}

/** A child that writes lines and prints the number of each append that returned. */
function writer(command, args, env = process.env) {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], env });
  let text = "";
  let seen = () => undefined;
  child.stdout.on("data", (part) => {
    text += part;
    seen();
  });
  const returned = () => Number(text.split("\n").slice(-2)[0] || -1);
  return {
    async reached(at) {
      while (returned() < at) await new Promise((done) => (seen = done));
    },
    async killed() {
      const closed = new Promise((done) => child.on("close", done));
      child.kill("SIGKILL");
      await closed;
      return returned();
    },
  };
}

const nodeWriter = (count) => writer(process.execPath, ["--input-type=module", "-e", WRITER, folder, String(count)]);

test("an event is in the file and on the disk when append returns", async (t) => {
  const spool = await opened({ fsync: true });
  const file = await open(new URL(import.meta.url).pathname);
  const synced = t.mock.method(Object.getPrototypeOf(file), "sync");
  await file.close();
  await spool.append('{"a":1}');
  assert.equal(synced.mock.callCount(), 2, "the folder and the file");
  assert.equal(await readFile((await files())[0], "utf8"), '{"a":1}\n');
  assert.equal((await stat((await files())[0])).mode & 0o777, 0o600);
});

test("lines come out in the order of the calls and leave nothing behind", async () => {
  const spool = await opened();
  const lines = Array.from({ length: 400 }, (_, at) => JSON.stringify({ at, text: "y".repeat(9000) }));
  await Promise.all(lines.map((line) => spool.append(line)));
  for (const line of lines) await spool.append(line);
  assert.ok((await files()).length > 3);
  assert.deepEqual(await drained(spool), [...lines, ...lines]);
  assert.deepEqual([spool.pendingEvents, spool.pendingBytes], [0, 0]);
  assert.deepEqual((await Promise.all((await files()).map((file) => stat(file)))).map((file) => file.size), [0]);
});

test("a part of a batch can be done", async () => {
  const spool = await opened();
  for (const line of ["0", "1", "2"]) await spool.append(line);
  await spool.done(await spool.head(10, 4096), 1);
  assert.deepEqual(await drained(spool), ["1", "2"]);
});

test("a killed process loses nothing that append returned for", async () => {
  const child = nodeWriter(1_000_000);
  await child.reached(3000);
  const last = await child.killed();
  const found = (await drained(await opened())).map((line) => JSON.parse(line).at);
  assert.deepEqual(found, [...found.keys()]);
  assert.ok([last + 1, last + 2].includes(found.length), `${found.length} of ${last + 1}`);
});

test("a torn last line is left out and counted", async () => {
  await mkdir(folder);
  await writeFile(join(folder, `0000000000000001-00000000.${FREE}.ndjson`), '{"a":1}\n{"a":2}\n{"a":');
  const spool = await opened();
  assert.equal(spool.pendingEvents, 2);
  assert.deepEqual(await drained(spool), ['{"a":1}', '{"a":2}']);
  assert.deepEqual([spool.torn, spool.pendingBytes, await files()], [1, 0, []]);
});

test("a full spool refuses and takes again when there is room", async () => {
  const spool = await opened({ bytesMax: 20 });
  const taken = await Promise.allSettled([1, 2, 3].map((a) => spool.append(JSON.stringify({ a }))));
  assert.deepEqual(taken.map((one) => one.status), ["fulfilled", "fulfilled", "rejected"]);
  assert.ok(taken[2].reason instanceof SpoolFull);
  await spool.done(await spool.head(1, 4096), 1);
  await spool.append('{"a":3}');
  assert.deepEqual(await drained(spool), ['{"a":2}', '{"a":3}']);
});

test("the policy drop counts", async () => {
  const spool = await opened({ bytesMax: 10, onFull: "drop" });
  assert.deepEqual([await spool.append('{"a":1}'), await spool.append('{"a":2}')], [true, false]);
  assert.equal(spool.dropped, 1);
});

test("a live process keeps its files and a dead one does not", async () => {
  const child = nodeWriter(3);
  await child.reached(2);
  const spool = await opened();
  assert.equal(spool.pendingEvents, 0);
  await spool.append('{"at":"own"}');
  await child.killed();
  assert.equal(await spool.adopt(), 1);
  assert.deepEqual((await drained(spool)).map((line) => JSON.parse(line).at), [0, 1, 2, "own"]);
});

test("files of a dead Python process are adopted, those of a live one are not", { skip: !hasPython }, async () => {
  const child = writer("python3", ["-c", PYTHON_WRITER, folder, "3"], PYTHON_ENV);
  await child.reached(2);
  const spool = await opened();
  assert.equal(spool.pendingEvents, 0);
  await child.killed();
  assert.equal(await spool.adopt(), 1);
  assert.deepEqual(await drained(spool), ['{"at":0}', '{"at":1}', '{"at":2}']);
});

test("both languages use one folder per node, tenant and producer", { skip: !hasPython }, () => {
  const code = `
import sys
from pathlib import Path
from decisiongraph_client.client import spool_folder
print(spool_folder(Path(sys.argv[1]), *sys.argv[2:]), end="")
`;
  for (const tenant of ["default", "tenant ä/€ 😀", "x".repeat(60)]) {
    const place = ["/spool", "http://127.0.0.1:4100/", tenant, "refund-agent"];
    const said = spawnSync("python3", ["-c", code, ...place], { env: PYTHON_ENV, encoding: "utf8" });
    assert.equal(said.stdout, spoolFolder(...place));
  }
});

test("a process that reuses a process id is another owner", () => {
  const [machine, pid, start] = owner().split("-");
  assert.equal(isDead(`${machine}-${pid}-${start}`), false);
  if (start !== "0") assert.equal(isDead(`${machine}-${pid}-${Number(start) + 1}`), true);
  assert.equal(isDead(`ffffffff-${pid}-${start}`), false);
});

test("files of another machine are claimed when nobody touches them", async () => {
  await mkdir(folder);
  const path = join(folder, "0000000000000001-00000000.ffffffff-1-1.ndjson");
  await writeFile(path, '{"a":1}\n');
  const spool = await opened({ staleAfterMs: 60_000 });
  assert.equal(spool.pendingEvents, 0);
  await utimes(path, new Date(0), new Date(0));
  assert.equal(await spool.adopt(), 1);
});

test("an owner that was taken for dead writes its lines again", async () => {
  const spool = await opened();
  await spool.append("1");
  await spool.append("2");
  await spool.done(await spool.head(1, 4096), 1);
  const thief = await Segment.claim(folder, (await readdir(folder))[0], "ffffffff-1-1");
  await thief.remove();
  await spool.append("3");
  assert.deepEqual(await Promise.all((await files()).map((file) => readFile(file, "utf8"))), ["2\n3\n"]);
  assert.deepEqual(await drained(spool), ["2", "3"]);
});

test("the own files are never claimed", async () => {
  const spool = await opened({ staleAfterMs: 60_000 });
  await spool.append("1");
  await utimes((await files())[0], new Date(0), new Date(0));
  assert.equal(await spool.adopt(), 0);
  await spool.touch();
  assert.ok((await stat((await files())[0])).mtimeMs > 0);
});

test("closing frees what waits for any process", async () => {
  const one = await Spool.open(folder, { fsync: false });
  await one.append("1");
  await one.close();
  assert.deepEqual(await drained(await opened()), ["1"]);
});
