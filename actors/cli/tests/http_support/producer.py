"""A producer: records COUNT events in a trace that is there, through its spool, and waits until all are sent.
Usage: producer.py CLIENT_SOURCE URL TOKEN SPOOL TRACE NAME COUNT."""
import sys
import time

source, url, token, spool, trace_id, name, count = sys.argv[1:]
sys.path.insert(0, source)
from decisiongraph_client import Client, entity  # noqa: E402

client = Client(url, token, "default", producer_id=name, spool_dir=spool)
trace = client.open_trace(trace_id)
for number in range(int(count)):
    trace.entity(entity("person", f"{name}-{number}"), "related")
    time.sleep(0.01)
sent = client.flush(60)
client.close()
print("sent" if sent else "left")
