// A server for faults of the transport: it takes batches as a node does, and fails where a test says so.
//
// It knows keys and the order of arrival, and no rules of events. Answers of real nodes are in `node.test.mjs`.

import { createServer } from "node:http";

/** A fault that answers with an error envelope. */
export const answers = (status, code, headers = {}) => (node, request, response) => {
  const error = { code, category: code, message: `as asked: ${code}`, details: {}, next: "wait" };
  reply(response, status, { error, request_id: "req-1" }, headers);
  return true;
};

/** A fault that closes the connection before any answer. */
export const cut = (node, request, response) => {
  response.socket.destroy();
  return true;
};

/** A fault that stores the batch and closes the connection in the middle of the answer. */
export const cutAfterStoring = (node, request, response, body) => {
  node.take(body);
  response.writeHead(200, { "content-length": "500" });
  response.write('{"line":1,');
  setTimeout(() => response.socket.destroy(), 20);
  return true;
};

/** A fault: an answer that ends behind its first line. */
export const noSummary = (node, request, response) => {
  response.end('{"line":1,"verdict":"accepted","log_seq":1}\n');
  return true;
};

/** A fault that answers with a stream and then closes it. */
export const streams = (...parts) => (node, request, response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.end(parts.join(""));
  return true;
};

export function reply(response, status, body, headers = {}) {
  response.writeHead(status, { "x-request-id": "req-1", ...headers });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
}

/** A server on a free port of the loopback address; events are kept in `events`, each key once. */
export class FaultyNode {
  events = [];
  requests = [];
  faults = [];
  pages = [];
  token = null;
  refuses = () => null;

  static async start(port = 0) {
    const node = new FaultyNode();
    node.server = createServer((request, response) => {
      const parts = [];
      request.on("error", () => undefined);
      request.on("data", (part) => parts.push(part));
      request.on("end", () => node.answer(request, response, Buffer.concat(parts).toString("utf8")));
    });
    await new Promise((done) => node.server.listen(port, "127.0.0.1", done));
    node.url = `http://127.0.0.1:${node.server.address().port}`;
    return node;
  }

  answer(request, response, body) {
    this.requests.push({ method: request.method, path: request.url, headers: request.headers, body });
    if (this.faults.length && this.faults.shift()(this, request, response, body)) return;
    if (this.token !== null && request.headers.authorization !== `Bearer ${this.token}`) {
      answers(401, "unauthorized")(this, request, response);
    } else if (request.url.startsWith("/api/v1/events/batch")) {
      response.end(this.take(body));
    } else if (request.url === "/api/v1/events") {
      const line = JSON.parse(this.take(body).split("\n")[0]);
      const event = { ...JSON.parse(body), log_seq: line.log_seq };
      reply(response, 201, { data: { event, verdict: line.verdict } }, { "x-log-seq": String(line.log_seq) });
    } else {
      reply(response, 200, { data: this.pages.shift() ?? {}, request_id: "req-1" });
    }
  }

  /** Stores the lines of a batch; gives the answer to it. */
  take(body) {
    const counts = { lines: 0, accepted: 0, repeated: 0, refused: 0 };
    const found = body.split("\n").flatMap((line, at) => {
      if (!line.trim()) return [];
      const event = JSON.parse(line);
      const known = this.events.findIndex((one) => one.idempotency_key === event.idempotency_key);
      const refusal = this.refuses(event);
      let verdict;
      if (refusal) verdict = { verdict: "refused", ...refusal };
      else if (known >= 0) verdict = { verdict: "repeated", log_seq: known + 1 };
      else verdict = { verdict: "accepted", log_seq: this.events.push(event) };
      counts.lines++;
      counts[verdict.verdict]++;
      return [{ line: at + 1, ...verdict }];
    });
    const summary = { ...counts, last_log_seq: this.events.length };
    return [...found, { summary, request_id: "req-1" }].map((line) => `${JSON.stringify(line)}\n`).join("");
  }

  get keys() {
    return this.events.map((event) => event.idempotency_key);
  }

  async close() {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }
}
