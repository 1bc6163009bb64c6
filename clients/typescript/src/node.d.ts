// Declarations of the few parts of Node.js that this package uses, so that it is built without `@types/node`.
// They are not part of the package.

declare module "node:fs" {
  export function readFileSync(path: string, encoding: "utf8"): string;
  export function readlinkSync(path: string): string;
}

declare module "node:fs/promises" {
  export interface FileHandle {
    readonly fd: number;
    write(data: Uint8Array, offset?: number, length?: number): Promise<{ bytesWritten: number }>;
    read(into: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
    sync(): Promise<void>;
    truncate(size: number): Promise<void>;
    stat(): Promise<{ size: number }>;
    close(): Promise<void>;
  }
  export function open(path: string, flags: string, mode?: number): Promise<FileHandle>;
  export function mkdir(path: string, options: { recursive: boolean; mode: number }): Promise<string | undefined>;
  export function readdir(path: string): Promise<string[]>;
  export function rename(from: string, to: string): Promise<void>;
  export function unlink(path: string): Promise<void>;
  export function utimes(path: string, accessed: Date, modified: Date): Promise<void>;
  export function stat(path: string): Promise<{ size: number; mtimeMs: number }>;
}

declare module "node:crypto" {
  export function createHash(name: string): { update(text: string): { digest(form: "hex"): string } };
  export function randomBytes(count: number): { toString(form: "hex"): string };
  export function randomUUID(): string;
}

declare module "node:os" {
  export function homedir(): string;
  export function hostname(): string;
}

declare module "node:path" {
  export function join(...parts: string[]): string;
}

interface Timer {
  unref(): void;
}

declare function setTimeout(done: () => void, ms: number): Timer;
declare function clearTimeout(timer: Timer | undefined): void;

declare const process: {
  readonly pid: number;
  readonly platform: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  kill(pid: number, signal: 0): void;
  on(event: "beforeExit", handler: () => void): void;
};
