"""What Meterhouse costs: `python -m benchmarks` measures, prints one table and can write JSON.

Everything runs on this machine, over loopback, in temporary folders; it is bounded in time and
ends by itself. `docs/performance.md` tells how to read the table. A row of the table is made by one
small file in `benchmarks/rows`.
"""
