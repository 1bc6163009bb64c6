/** Server-Sent Events: a parser for lines, without any I/O, by the WHATWG rules that the node makes use of. */

/** One message as it came: its kind, its text, and the id to resume behind it. */
export interface Message {
  event: string;
  data: string;
  id: string | null;
}

/** Takes lines, gives messages. A message ends at a blank line; comments and unknown fields are skipped. */
export class Parser {
  /** Id of the latest message that had one. */
  lastId: string | null = null;
  /** Milliseconds before a new connection, as the server asked. */
  retryMs: number | null = null;
  #event = "";
  #data: string[] = [];

  /** Takes one line without its end; gives a message when the line ends it. */
  line(line: string): Message | null {
    if (line === "") return this.#end();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id" && !value.includes("\0")) this.lastId = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    return null;
  }

  #end(): Message | null {
    const [event, data] = [this.#event || "message", this.#data];
    [this.#event, this.#data] = ["", []];
    return data.length ? { event, data: data.join("\n"), id: this.lastId } : null;
  }
}

/** Cuts a stream of text into lines; the last, unfinished line is kept until its end comes. */
export class Lines {
  #open = "";

  /** Takes a piece of text, gives the lines that it completes. */
  take(text: string): string[] {
    const lines = (this.#open + text).split("\n");
    this.#open = lines.pop() ?? "";
    return lines.map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line));
  }
}
