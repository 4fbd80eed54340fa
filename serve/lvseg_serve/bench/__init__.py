"""lvseg-bench: latency, throughput, memory and accuracy of engines and servers, side by side in one run."""
