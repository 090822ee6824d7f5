"""The studio: a person without a terminal makes their avatar from a video in a web page.

    http.py → studio.py → jobs.py, uploads.py, shelf.py → store.py, process.py, folder.py → records.py

Training is another program (`python -m training`), run in a process of its own, which ends with the server: nothing here imports it. What an upload or a job
is, is known to whoever holds its identifier, which nobody can guess.
"""
