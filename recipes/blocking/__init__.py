"""The recipes for plain threads: the same names, types and promises as :mod:`coord.recipes`, over a client of
:mod:`coord.client.blocking`; nothing is awaited.

::

    from coord.client.blocking import connect
    from coord.recipes.blocking import membership
    from coord.recipes.blocking.counter import Counter

    with connect() as client:
        print(Counter(client, "/app/hits").add())  # → 1
        with membership.join(client, "/workers", "w1", pulse=10) as me:
            me.pulse()
            print([member.name for member in me.roster])  # → ['w1']

What a thread does cannot be cancelled. Where the async block is, here an event is set (``me.lost``), the next call
raises :class:`~coord.recipes.scope.Lost`, and so does the end of the block.
"""
