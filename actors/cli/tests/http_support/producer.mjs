// A producer: records COUNT events in a trace that is there, through its spool, and waits until all are sent.
// Usage: producer.mjs CLIENT URL TOKEN SPOOL TRACE NAME COUNT.
const [client_path, url, token, spoolDir, traceId, producerId, count] = process.argv.slice(2);
const { Client, entity } = await import(client_path);

const client = new Client(url, token, "default", { producerId, spoolDir });
const trace = client.openTrace(traceId);
for (let number = 0; number < Number(count); number += 1) {
  await trace.entity(entity("person", `${producerId}-${number}`), "related");
  await new Promise((go) => setTimeout(go, 10));
}
const sent = await client.flush(60_000);
await client.close();
console.log(sent ? "sent" : "left");
