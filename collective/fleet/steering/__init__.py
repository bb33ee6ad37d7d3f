"""Runs that outlive their caller: a record that several callers read, and that one of them at a time goes on with.

    caller A ── begin, sent, reply … ──►  record  ◄── pause, resume, stop ── any trusted caller
       │ dies: its lease ends               │
       ▼                                    ▼
    no further wave                     caller B takes it: asks what became of A's requests, and goes on

| module | content |
| --- | --- |
| `run_log` | the protocols of the record: compare and append, and the lease |
| `file_store` | the record in the folder of saved runs, for one machine |
| `table_store` | the record in DynamoDB, for all callers of a collective |
| `statements` | what callers sign: the call, takeovers and orders |
| `steered_record` | write a call to its record while it runs, and obey orders |
| `run_state` | what the events say: who goes on with the run, and what is ordered |
| `lease` | renew the lease in time, and tell when it is lost |
| `settlement` | ask nodes what became of the requests of a caller that ended |
| `takeover` | go on with a run |

The record is a list of events to which a caller appends only if it has read all events before. A caller that was
replaced cannot append, so it cannot send; an order to stop is either read before a wave is sent, or comes after it.
This needs no clock. The lease, which has one, only keeps two callers from trying at the same time.
"""
