"""`python -m training` with the least work that makes an avatar, for tests that wait for one: called as `small_training.py -m training all CLIP …`."""

from __future__ import annotations

import sys

from training import bake, fit
from training.__main__ import main
from training.portrait.appearance import AppearanceSettings
from training.registration import RegistrationPlan

if __name__ == "__main__":
    fit.PLANS["quick"] = fit.FitPlan(10, 1, 1, 1, 8, components=3, outline_rounds=1, texture=AppearanceSettings(maps_px=64, base_px=128))
    bake.PLANS["quick"] = RegistrationPlan(points=60, starts=1)
    sys.exit(main(sys.argv[3:]))
