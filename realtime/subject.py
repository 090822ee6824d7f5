"""Who drives: anybody, learned while they drive; or the avatar's own person, known from its file. Decided once for each face that comes.

How: the landmarks of the known person, and those of the average one, are fitted to the same frames. Noise and expressions average out over a second; what is
left at each landmark is what the fitted person has of another shape. For the avatar's own person it is small against what is left for the average one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from models.driver import DriverProfile
from models.head import HeadModel, HeadParams
from models.regressor import Regressor
from models.rotations import to_matrix
from models.solving.residuals import Subject
from realtime.newcomer import Newcomer, NewcomerSettings
from realtime.one_euro import Double
from realtime.packets import DriveMode, FaceObservation
from realtime.plausibility import Plausibility, PlausibilitySettings
from realtime.regression import ParameterSolver, SolverSettings
from realtime.rest_frames import RestFrames


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """Of what is left at the landmarks for the known person, over what is left for the average one.

    Measured on stretches of four clips of three people. With the profile that the fit stage gives of the talking man: after 2 s 0.12 to 0.37 for himself, in
    the same and in another crop, 0.51 to 0.73 for the two others; after 1 s 0.19 to 0.52 and 0.50 to 0.78. With poorer profiles, learned by the live solver on
    half a clip, 0.07 to 0.67 and 0.48 to 1.00 after 2 s: nobody was taken for another, some were not known again, and were driven relatively.
    """

    early_s: float = 1.0
    """After so long a clear case is decided,"""
    late_s: float = 2.0
    """and after so long every case."""
    clearly_own: float = 0.40
    clearly_other: float = 0.60
    own: float = 0.47
    least_frames: int = 8
    lost_s: float = 0.5
    """After this long without a face, the next one may be somebody else's."""


class Judge:
    """Watches two fits of the same face until it knows whether the known person is the better one."""

    def __init__(self, settings: JudgeSettings) -> None:
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        """Another face."""
        self._known: Double = np.zeros((1, 2))
        self._average: Double = np.zeros((1, 2))
        self._frames = 0
        self._from_s = 0.0

    def look(self, known: Double, average: Double, at_s: float) -> bool | None:
        """Whether it is the known person; None: not decided yet.

        Args: `known`, `average` (L, 2): residuals of the two fits in this frame, in the same unit.
        """
        settings = self._settings
        if not self._frames or at_s < self._from_s:
            self.reset()
            self._from_s = at_s
        self._frames += 1
        self._known = self._known + known
        self._average = self._average + average
        elapsed = at_s - self._from_s
        if self._frames < settings.least_frames or elapsed < settings.early_s:
            return None
        ratio = _typical(self._known) / max(_typical(self._average), 1e-9)
        if elapsed >= settings.late_s:
            return ratio < settings.own
        return True if ratio < settings.clearly_own else False if ratio > settings.clearly_other else None


def _typical(total: Double) -> float:
    return float(np.median(np.linalg.norm(total, axis=1)))


@dataclass(frozen=True, slots=True)
class SubjectSettings:
    solver: SolverSettings = field(default_factory=SolverSettings)
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    plausibility: PlausibilitySettings = field(default_factory=PlausibilitySettings)
    newcomer: NewcomerSettings = field(default_factory=NewcomerSettings)


class SubjectSolver:
    """FaceObservation → HeadParams of whoever drives; one per session. `own` says which convention the parameters are in.

    Anybody's turn the root, about the root joint of the head model. The avatar's own person's are the avatar's: they turn the neck, with the avatar's own
    joints, and hold absolutely.
    """

    def __init__(self, head: HeadModel, mode: DriveMode = DriveMode.AUTO, settings: SubjectSettings | None = None, regressor: Regressor | None = None) -> None:
        """`regressor` is the head's, asked about anybody. Raises ValueError where the head has no landmark embedding, or the regressor is another's."""
        self._head = head
        self._settings = settings or SubjectSettings()
        self._mode = mode
        self._judge = Judge(self._settings.judge)
        self._plausibility = Plausibility(head.landmarks(head.template), self._settings.plausibility)
        self._anybody = ParameterSolver(head, self._settings.solver, regressor=regressor)
        self.neck_offset = self._anybody.neck_offset
        self._rest_frames = RestFrames()
        self._newcomer = Newcomer(self._settings.newcomer)
        self._faceless_s: float | None = None
        self.came: list[HeadParams] | None = None
        """The first second of somebody else than before, if that became known with the latest frame."""
        self._own, self._decided, self._seen_s = False, True, 0.0
        self.wear(None)

    @property
    def own(self) -> bool:
        """Whether the avatar's own person drives, as far as is known."""
        return self._own

    @property
    def jumped(self) -> bool:
        """The face of the latest frame could not have come there from where it was: another one, perhaps."""
        return self._plausibility.jumped

    def wear(self, profile: DriverProfile | None) -> None:
        """Another avatar; `profile` of its own person, None or another head's: there is nobody to be known."""
        usable = profile is not None and profile.head == self._head.name and len(profile.identity) <= len(self._head.identity)
        self._known = ParameterSolver(self._head, self._settings.solver, profile) if usable else None
        plain = None if profile is None else replace(self._settings.solver, focal=profile.focal, identity_slices=0)
        self._average = ParameterSolver(self._head, plain) if usable else None
        self._begin()

    def set_mode(self, mode: DriveMode) -> None:
        """Takes hold with the next frame."""
        self._mode = mode
        self._begin()

    def solve(self, observation: FaceObservation) -> HeadParams | None:
        """The driver's parameters in this frame; None where there is no face, none can be made out, or what is there cannot be the face that was followed."""
        self.came = None
        if observation.landmarks is None and self._faceless_s is None:
            self._faceless_s = observation.pts_s
        if observation.landmarks is not None and not self._plausibility.look(observation.landmarks, observation.pts_s):
            return None
        former = self._anybody.learned
        params = self._solve(observation)
        if params is not None:
            self._welcome(observation, params, former)
        return params

    def _solve(self, observation: FaceObservation) -> HeadParams | None:
        if not self._decided:
            return self._decide(observation)
        params = (self._known if self._own and self._known is not None else self._anybody).solve(observation)
        if params is not None:
            away = observation.pts_s - self._seen_s
            self._seen_s = observation.pts_s
            if self._mode is DriveMode.AUTO and self._known is not None and (self._plausibility.jumped or not 0.0 <= away <= self._settings.judge.lost_s):
                self._judge.reset()
                self._decided = False
        return params

    def _welcome(self, observation: FaceObservation, params: HeadParams, former: Subject | None) -> None:
        """Notices somebody else than before; what was learned of the one who left is forgotten."""
        if self._faceless_s is not None:
            self._newcomer.returned(observation.pts_s - self._faceless_s, former)
            self._faceless_s = None
        if not self._newcomer.asking:
            return
        forward = to_matrix(params.rotation)[:, 2]
        looks = self._newcomer.see(observation, float(np.arctan2(forward[0], forward[2])), self._anybody.seen_as)
        if looks is None:
            return
        found = [self._anybody.again(look) for look in looks]
        self.came = [params for params in found if params is not None] or None
        self._rest_frames.begin(looks, self._anybody.person)

    def rest_again(self, observation: FaceObservation, params: HeadParams) -> list[HeadParams] | None:
        """After a frame that was solved: what the driver's first second says now, where that has changed; never of the avatar's own person."""
        return None if self._own else self._rest_frames.see(observation, params.identity, self._anybody.again)

    def misfit(self, params: HeadParams | None = None) -> float:
        """Median landmark error of the known person's latest fit, or of other parameters in the same frame, in inter-ocular distances."""
        if self._known is None:
            return float("inf")
        if params is None:
            return self._known.median_error
        apart = np.linalg.norm(self._known.residuals(params), axis=1)
        return float(np.median(apart)) if len(apart) else float("inf")

    @property
    def focal_px(self) -> float:
        """Focal length in pixels of the latest picture, of the fit that drives."""
        return (self._known if self._own and self._known is not None else self._anybody).focal_px

    def _begin(self) -> None:
        """Nothing is known of who drives but what the mode says."""
        self._judge.reset()
        self._seen_s = 0.0
        self._own = self._mode is DriveMode.OWN and self._known is not None
        self._decided = self._mode is not DriveMode.AUTO or self._known is None

    def _decide(self, observation: FaceObservation) -> HeadParams | None:
        assert self._known is not None
        assert self._average is not None
        known, average = self._known.solve(observation), self._average.solve(observation)
        anybody = self._anybody.solve(observation)
        if known is not None and average is not None:
            self._seen_s = observation.pts_s
            verdict = self._judge.look(self._known.residuals(), self._average.residuals(), observation.pts_s)
            if verdict is not None:
                self._own, self._decided = verdict, True
        return known if self._own else anybody
