/**
 * Files of a spool: their names, their owners, their lines.
 *
 * A segment is plain JSON lines, one event per line, named `TIME-RANDOM.OWNER.ndjson`. Sorted by name, segments are in
 * the order of their creation. A segment changes hands by `rename`, which only one process wins. The format is the same
 * in every client of DecisionGraph, so that clients of any language adopt each other's files.
 */

import { createHash, randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { open, readdir, rename, stat, unlink, utimes, type FileHandle } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";

/** Owner in the name of a segment that its process has given up. */
export const FREE = "free";

const NAME = /^(\d{16}-[0-9a-f]{8})\.([0-9a-z-]+)\.ndjson$/;
const READ_BYTES = 8 * 1024 * 1024;
const LINE_END = 10;

function textOf(read: () => string): string {
  try {
    return read();
  } catch {
    return "";
  }
}

/** This boot of this machine, and the namespace of process ids: processes can be looked up only within it. */
export function machine(): string {
  const boot = textOf(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8")).trim() || hostname();
  const space = textOf(() => readlinkSync("/proc/self/ns/pid"));
  return createHash("sha256").update(`${boot}\n${space}`).digest("hex").slice(0, 8);
}

/** State letter and start time of a process, where `/proc` has them. */
export function processState(pid: number): { state: string; start: string } | null {
  const text = textOf(() => readFileSync(`/proc/${pid}/stat`, "utf8"));
  const rest = text.slice(text.lastIndexOf(")") + 2).split(/\s+/);
  const [state, start] = [rest[0], rest[19]];
  return state && start ? { state, start } : null;
}

/** The owner's name of this process: machine, process id, start time. */
export function owner(): string {
  return `${machine()}-${process.pid}-${processState(process.pid)?.start ?? 0}`;
}

/** True when the owner is known to have ended; false when it lives, or lives elsewhere. */
export function isDead(name: string): boolean {
  if (name === FREE) return true;
  const [host, pid, start, ...more] = name.split("-");
  if (!pid || !start || more.length || host !== machine() || !/^\d+$/.test(pid)) return false;
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    return (error as { code?: string }).code === "ESRCH";
  }
  const found = processState(Number(pid));
  return found !== null && ("ZX".includes(found.state) || (start !== "0" && found.start !== start));
}

let latestStamp = 0;

/** Microseconds of the clock, later than every stamp before: it orders the segments of this process. */
function stamp(): string {
  latestStamp = Math.max(Date.now() * 1000, latestStamp + 1);
  return String(latestStamp).padStart(16, "0");
}

/** An open segment. `acknowledged` is the offset up to which the node has answered for its lines. */
export class Segment {
  acknowledged = 0;
  /** Lines behind `acknowledged`. */
  events = 0;
  /** True when nothing may be written behind the last line. */
  isSealed: boolean;

  private constructor(
    readonly folder: string,
    private name: string,
    private file: FileHandle,
    public size: number,
    readonly isAdopted: boolean,
  ) {
    this.isSealed = isAdopted;
  }

  /** A new, empty segment; its entry in the folder is durable. */
  static async create(folder: string, ownedBy: string): Promise<Segment> {
    const name = `${stamp()}-${randomBytes(4).toString("hex")}.${ownedBy}.ndjson`;
    const file = await open(join(folder, name), "ax+", 0o600);
    await syncFolder(folder);
    return new Segment(folder, name, file, 0, false);
  }

  /** Another owner's segment under our name; nothing when another process was faster. */
  static async claim(folder: string, name: string, ownedBy: string): Promise<Segment | null> {
    const target = `${NAME.exec(name)?.[1]}.${ownedBy}.ndjson`;
    try {
      await rename(join(folder, name), join(folder, target));
      const file = await open(join(folder, target), "a+");
      const segment = new Segment(folder, target, file, (await file.stat()).size, true);
      segment.events = count(await segment.rest());
      return segment;
    } catch {
      return null;
    }
  }

  get path(): string {
    return join(this.folder, this.name);
  }

  /** Writes whole lines at the end. A failed write is taken back; where that fails too, the segment is sealed. */
  async append(data: Uint8Array, fsync: boolean): Promise<void> {
    try {
      for (let at = 0; at < data.length; ) at += (await this.file.write(data, at, data.length - at)).bytesWritten;
      if (fsync) await this.file.sync();
    } catch (error) {
      this.isSealed = true;
      await this.file.truncate(this.size);
      this.isSealed = false;
      throw error;
    }
    this.size += data.length;
    this.events += count(data);
  }

  /** False when another process has claimed the file. */
  async isInPlace(): Promise<boolean> {
    return stat(this.path).then(
      () => true,
      () => false,
    );
  }

  /** Moves the lines that wait into a new file of the same owner: another process has claimed this one. */
  async writeAgain(fsync: boolean): Promise<void> {
    const fresh = await Segment.create(this.folder, NAME.exec(this.name)?.[2] ?? FREE);
    await fresh.append(await this.rest(), fsync);
    await this.file.close();
    [this.name, this.file, this.size, this.acknowledged] = [fresh.name, fresh.file, fresh.size, 0];
  }

  /** The next complete lines behind `acknowledged`, with their ends; at least one if there is one. */
  async lines(linesMax: number, bytesMax: number): Promise<Uint8Array[]> {
    let data = await this.#read(this.acknowledged, bytesMax);
    while (data.length && !data.includes(LINE_END)) {
      const more = await this.#read(this.acknowledged + data.length, READ_BYTES);
      if (!more.length) return [];
      data = joined([data, more]);
    }
    const found: Uint8Array[] = [];
    for (let at = 0; found.length < linesMax; ) {
      const end = data.indexOf(LINE_END, at) + 1;
      if (end === 0) break;
      found.push(data.subarray(at, end));
      at = end;
    }
    return found;
  }

  /** Everything behind `acknowledged`. */
  async rest(): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let at = this.acknowledged; ; ) {
      const part = await this.#read(at, READ_BYTES);
      if (!part.length) return joined(parts);
      parts.push(part);
      at += part.length;
    }
  }

  /** Goes forward behind lines that the node has answered for. */
  acknowledge(size: number, events: number): void {
    this.acknowledged += size;
    this.events -= events;
  }

  /** Forgets all lines; the file stays. */
  async empty(): Promise<void> {
    await this.file.truncate(0);
    this.size = this.acknowledged = this.events = 0;
  }

  /** Tells other processes that the owner lives. */
  async touch(): Promise<void> {
    const now = new Date();
    await utimes(this.path, now, now).catch(() => undefined);
  }

  /** Closes the file. A file with lines that wait is marked as free for any process. */
  async release(): Promise<void> {
    await this.file.close();
    const free = join(this.folder, `${NAME.exec(this.name)?.[1]}.${FREE}.ndjson`);
    const done = this.size === this.acknowledged ? unlink(this.path) : rename(this.path, free);
    await done.catch(() => undefined);
  }

  /** Closes and deletes the file. */
  async remove(): Promise<void> {
    await this.file.close();
    await unlink(this.path).catch(() => undefined);
  }

  async #read(position: number, length: number): Promise<Uint8Array> {
    const into = new Uint8Array(Math.min(length, Math.max(0, (await this.file.stat()).size - position)));
    const { bytesRead } = into.length ? await this.file.read(into, 0, into.length, position) : { bytesRead: 0 };
    return into.subarray(0, bytesRead);
  }
}

/** Bytes one behind the other. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function count(data: Uint8Array): number {
  let found = 0;
  for (const byte of data) if (byte === LINE_END) found++;
  return found;
}

/** Makes new entries of a folder durable, where the system can. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const entry = await open(folder, "r");
  await entry.sync().finally(() => entry.close());
}

/**
 * Segments whose owner is dead, or did not touch them for `staleAfterMs`, in order of creation.
 *
 * A wrong guess harms nothing: the owner sees that its file is gone, and writes its lines again.
 */
export async function claimable(folder: string, ownedBy: string, staleAfterMs: number): Promise<string[]> {
  const found: string[] = [];
  for (const name of (await readdir(folder)).sort()) {
    const held = NAME.exec(name)?.[2];
    if (held === undefined || held === ownedBy) continue;
    const touched = await stat(join(folder, name)).then(
      (facts) => facts.mtimeMs,
      () => Date.now(),
    );
    if (isDead(held) || Date.now() - touched > staleAfterMs) found.push(name);
  }
  return found;
}
