"""Fuzzing: whatever is sent, by whomever, the server answers it, and is the same afterwards.

`test_strangers` hands odd requests without a key to the program, `test_keys` those of somebody who
has one, `test_pages` those of somebody who is signed in, `test_frames` what a listening Stripe CLI
says. `test_wire` breaks requests on their way to a real server, as no HTTP client would send them,
and `test_memory` looks at the memory of one. What has to hold:

- no answer with a status of 5xx, no error and no traceback in the log;
- no connection that stays without an answer or an end;
- strangers are told nothing but what is open to all, and leave nothing in the ledger but a bounded
  number of entries that somebody failed to sign in;
- the memory of the server stays flat, and it answers as before.

Requests are made of what there is (`words`: the routes, the names of all parameters, good tokens)
and of what nobody expects. Hypothesis chooses, shrinks what fails to the least that does, and
prints it together with how to repeat it. A run of the suite takes the same few hundred requests of
each kind on CI, and new ones anywhere else. `make fuzz` takes as many as `METERHOUSE_FUZZ_EXAMPLES`
says and prints its seed. All of it goes over loopback or stays within the process.
"""
