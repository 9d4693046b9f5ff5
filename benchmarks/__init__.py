"""What the appliance costs: throughput, latency, memory and bytes written, beside a bare loop."""
