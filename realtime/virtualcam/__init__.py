"""The avatar as a camera of this machine, for any program that takes one: `python -m realtime.virtualcam`.

    local    webcam → the server's own stages, in this process → newest picture → virtual camera
    remote   a session of a running server, watched over WHEP  → newest picture → virtual camera

What a source hands over is only ever a card, the avatar at rest or the driven avatar: `feed.Shot` is made of nothing else.
"""
