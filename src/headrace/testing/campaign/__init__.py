"""The kill campaign: ``python -m headrace.testing.campaign --kills 1000 --seed 1``.

A project of many kinds of jobs runs by the public commands while events keep coming, and its processes are
killed at random moments and at every crash point, paused, overtaken and woken. Then everything that stands
anywhere is compared with plain Python over the same events, and with an undisturbed run.
"""
