"""What the transports for `httpx` and `httpx2` share: it knows neither of them.

Data flows one way. A request that is `chosen` has a key (`request_key`), made of its canonical body (`bodies`) and
what else tells it from others. `answers` finds what is stored by it, an `exchange`. What is not stored is asked,
recorded while the client reads (`recording`), and stored if it is whole (`completeness`). `transports` do this in a
thread or in a task, with the classes of a `library`.
"""
