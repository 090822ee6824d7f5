"""Tracking and rendering in a process for each session, so that whatever happens there is the trouble of that session only, and passes.

    factory.py → remote.py → nursery.py → frames.py, messages.py      in the server
    zygote.py → serving.py → frames.py, messages.py                   in the others

The server starts one process that loads and compiles everything once and then does nothing but fork (`zygote.py`). A fork is there in milliseconds, and shares
what was loaded with all others. It serves one session until its connection to the server ends, and then ends too. Pictures cross in memory that has no name and
no file (`frames.py`), everything else as small messages.

This is protection against faults, not a sandbox: a renderer runs as the same user as the server.
"""
