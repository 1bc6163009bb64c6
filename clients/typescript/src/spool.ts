/**
 * A bounded queue of events on disk, between a producer and the sender.
 *
 * - An event is taken when its line is in the file (and, with `fsync`, on the disk). No network is involved.
 * - Lines leave the spool only after the node has answered for them. A crash at any moment loses none of them; lines
 *   that were sent before are sent again, and the node recognises their idempotency keys.
 * - A process writes only its own files. It claims the files of dead processes and sends their lines first.
 * - A bound in bytes holds at any time: beyond it, an append is an error, or the event is dropped and counted.
 */

import { mkdir } from "node:fs/promises";
import { Closed, SpoolFailed, SpoolFull } from "./errors.js";
import { Segment, claimable, joined, owner, syncFolder } from "./segments.js";

/** Bytes after which a segment is sealed and a new one is begun. */
const SEGMENT_BYTES_MAX = 1024 * 1024;
/** Longest event, as a line, in bytes; the node takes no longer one. */
const EVENT_BYTES_MAX = 4 * 1024 * 1024;
/** Claimed segments that are open at once. */
const ADOPTED_SEGMENTS_MAX = 64;

/** Bounds and policies of a spool. */
export interface SpoolOptions {
  /** Bytes that may wait; 64 MiB. */
  bytesMax?: number;
  /** False leaves it to the system when lines reach the disk: a power cut may lose the last ones. */
  fsync?: boolean;
  /** `raise` (default): a full spool is a `SpoolFull`. `drop`: the event is left out and counted. */
  onFull?: "raise" | "drop";
  /** Milliseconds without a sign of life after which the files of an unknown process are claimed; two minutes. */
  staleAfterMs?: number;
}

/** The next lines of a spool, in order; they stay in the spool until `done`. */
export interface Batch {
  segment: Segment;
  lines: readonly Uint8Array[];
}

interface Waiting {
  data: Uint8Array;
  taken: () => void;
  failed: (error: Error) => void;
}

/** The spool of one process in a folder that other processes use too. */
export class Spool {
  /** Events that the policy `drop` left out. */
  dropped = 0;
  /** Half lines at the ends of claimed files: appends that never returned. */
  torn = 0;
  /** Called when events were taken or done. */
  onChange: () => void = () => undefined;

  readonly #owner = owner();
  readonly #options: Required<SpoolOptions>;
  #segments: Segment[] = [];
  #writable: Segment | null = null;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #isClosed = false;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly folder: string,
    options: SpoolOptions,
  ) {
    const { bytesMax = 64 * 1024 * 1024, fsync = true, onFull = "raise", staleAfterMs = 120_000 } = options;
    this.#options = { bytesMax, fsync, onFull, staleAfterMs };
  }

  /** Opens the spool of this process in a folder, and claims the files of dead ones. */
  static async open(folder: string, options: SpoolOptions = {}): Promise<Spool> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const spool = new Spool(folder, options);
    await spool.adopt();
    return spool;
  }

  /** Events on the disk that wait to be sent. */
  get pendingEvents(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.events, 0);
  }

  /** Bytes on the disk that wait to be sent. */
  get pendingBytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.size - segment.acknowledged, 0);
  }

  /**
   * Takes one event, a line without its end. Resolves when it is durable; to false when it was dropped. Events come
   * into the file in the order of the calls; those that wait for the disk are written together.
   */
  async append(line: string): Promise<boolean> {
    const data = new TextEncoder().encode(`${line}\n`);
    if (data.length - 1 > EVENT_BYTES_MAX) {
      throw new RangeError(`an event has at most ${EVENT_BYTES_MAX} bytes as JSON, this one has ${data.length - 1}`);
    }
    if (this.#isClosed) throw new Closed("the spool is closed");
    const { bytesMax, onFull } = this.#options;
    const pending = this.pendingBytes + this.#waitingBytes;
    if (pending + data.length > bytesMax) {
      if (onFull === "raise") throw new SpoolFull(`${pending} of ${bytesMax} bytes wait to be sent (${this.folder})`);
      this.dropped++;
      return false;
    }
    const durable = new Promise<void>((taken, failed) => this.#waiting.push({ data, taken, failed }));
    this.#waitingBytes += data.length;
    void this.#alone(() => this.#writeWaiting());
    await durable;
    return true;
  }

  async #writeWaiting(): Promise<void> {
    const group = this.#waiting.splice(0);
    if (!group.length) return;
    const data = joined(group.map((waiting) => waiting.data));
    try {
      await this.#write(data);
      group.forEach((waiting) => waiting.taken());
    } catch (cause) {
      const error = new SpoolFailed(`${this.folder}: ${(cause as Error).message}`, { cause });
      group.forEach((waiting) => waiting.failed(error));
    } finally {
      this.#waitingBytes -= data.length;
    }
    this.onChange();
  }

  async #write(data: Uint8Array): Promise<void> {
    const { fsync } = this.#options;
    let segment = this.#writable;
    const isFull = segment !== null && segment.size > 0 && segment.size + data.length > SEGMENT_BYTES_MAX;
    if (segment === null || segment.isSealed || isFull) {
      segment = this.#writable = await Segment.create(this.folder, this.#owner);
      this.#segments.push(segment);
    }
    await segment.append(data, fsync);
    // Another process may have taken this one for dead. Then the line just written may have come too late for it;
    // lines before may be sent twice, which the node recognises.
    if (!(await segment.isInPlace())) await segment.writeAgain(fsync);
  }

  /** The next lines to send; nothing when all are sent. */
  head(linesMax: number, bytesMax: number): Promise<Batch | null> {
    return this.#alone(async () => {
      for (let segment = this.#segments[0]; segment; segment = this.#segments[0]) {
        const lines = await segment.lines(linesMax, bytesMax);
        if (lines.length) return { segment, lines };
        if (segment === this.#writable && !segment.isSealed) {
          segment.events = 0; // Also when something else has emptied the file.
          return null;
        }
        this.torn += (await segment.rest()).length ? 1 : 0;
        await this.#leave(segment);
      }
      return null;
    });
  }

  /** Forgets the first lines of a batch: the node, or the file of refused events, has them. */
  async done(batch: Batch, lines: number): Promise<void> {
    await this.#alone(async () => {
      if (this.#isClosed) return;
      const { segment } = batch;
      const size = batch.lines.slice(0, lines).reduce((sum, line) => sum + line.length, 0);
      segment.acknowledge(size, lines);
      if (segment.acknowledged < segment.size) return;
      if (segment === this.#writable && !segment.isSealed) await segment.empty();
      else await this.#leave(segment);
    });
    this.onChange();
  }

  async #leave(segment: Segment): Promise<void> {
    this.#segments = this.#segments.filter((one) => one !== segment);
    await segment.remove();
  }

  /** Claims the files of dead processes, before the files of our own; resolves to their number. */
  async adopt(): Promise<number> {
    const claimed: Segment[] = [];
    await this.#alone(async () => {
      const adopted = this.#segments.filter((segment) => segment.isAdopted);
      const own = this.#segments.filter((segment) => !segment.isAdopted);
      for (const name of await claimable(this.folder, this.#owner, this.#options.staleAfterMs)) {
        if (adopted.length + claimed.length >= ADOPTED_SEGMENTS_MAX) break;
        const segment = await Segment.claim(this.folder, name, this.#owner);
        if (segment !== null) claimed.push(segment);
      }
      this.#segments = [...adopted, ...claimed, ...own];
      if (claimed.length) await syncFolder(this.folder);
    });
    if (claimed.length) this.onChange();
    return claimed.length;
  }

  /** Tells other processes that this one lives, while events wait. */
  async touch(): Promise<void> {
    if (this.pendingBytes) await Promise.all(this.#segments.map((segment) => segment.touch()));
  }

  /** Releases the files; what was not sent is sent by the next process that uses the folder. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#alone(async () => {
      for (const segment of this.#segments.splice(0)) await segment.release();
      this.#writable = null;
    });
    this.onChange();
  }

  /** Runs one piece of work after the other, whatever became of the one before. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}
