"""The people: who they are, how they look. Invented; any likeness is chance."""

from __future__ import annotations

from dataclasses import dataclass

from training.default_avatars.backdrop import Room
from training.default_avatars.clothing import Garment
from training.default_avatars.eyes import EyeLook
from training.default_avatars.hair import HairStyle
from training.default_avatars.skin import SkinLook
from training.default_avatars.strands import HairLook

SHORT_LINE = (
    *((0.0, 23.0), (22.0, 23.0), (38.0, 19.0), (52.0, 12.0), (62.0, 0.0), (69.0, -16.0), (73.0, -31.0)),
    *((77.0, -32.0), (81.0, -14.0), (101.0, -13.0), (109.0, -28.0), (122.0, -43.0), (180.0, -50.0)),
)
LONG_LINE = ((0.0, 25.0), (22.0, 24.0), (42.0, 18.0), (58.0, 8.0), (72.0, -8.0), (86.0, -16.0), (102.0, -20.0), (125.0, -40.0), (180.0, -50.0))


@dataclass(frozen=True, slots=True)
class Person:
    """One synthetic person."""

    slug: str
    name: str
    description: str
    identity_seed: int
    identity_strength: float
    skin: SkinLook
    eyes: EyeLook
    hair: HairStyle
    hair_look: HairLook
    garment: Garment
    room: Room
    scalp_shade: float = 0.85
    """How much of the hair's colour shows on the scalp below it."""


MARA = Person(
    slug="mara",
    name="Mara",
    description="Chestnut bob, grey-green eyes, petrol jumper",
    identity_seed=19,
    identity_strength=0.55,
    skin=SkinLook(
        tone=(0.86, 0.67, 0.56),
        blush=(0.84, 0.46, 0.40),
        lips=(0.72, 0.36, 0.35),
        brow=(0.24, 0.15, 0.10),
        freckles=0.35,
        brow_thickness=0.85,
        liner=0.6,
        lip_strength=0.85,
    ),
    eyes=EyeLook(iris=(0.30, 0.38, 0.33), iris_inner=(0.50, 0.46, 0.30)),
    hair=HairStyle(
        hairline=LONG_LINE,
        thickness=((0.0, 0.016), (60.0, 0.020), (120.0, 0.022), (180.0, 0.022)),
        edge_thickness=((0.0, 0.012), (40.0, 0.016), (70.0, 0.020), (110.0, 0.024), (180.0, 0.020)),
        hang=((0.0, 0.014), (20.0, 0.018), (34.0, 0.044), (46.0, 0.105), (62.0, 0.125), (90.0, 0.105), (120.0, 0.085), (180.0, 0.07)),
        flare=-0.12,
        part_front=(22.0, 54.0),
        part_back=(180.0, 66.0),
        clumps=34,
        clump_depth=0.22,
        wave=2.0,
        seed=3,
    ),
    hair_look=HairLook(root=(0.16, 0.085, 0.055), tip=(0.34, 0.19, 0.11), sheen=(0.66, 0.45, 0.30), sheen_strength=0.38),
    garment=Garment(front=-0.045, back=0.014, colour=(0.13, 0.33, 0.38)),
    room=Room(wall=(0.80, 0.74, 0.66), light=(1.0, 0.95, 0.84), furniture=(0.55, 0.40, 0.28)),
)
THEO = Person(
    slug="theo",
    name="Theo",
    description="Short dark hair, side parting, stubble, oatmeal jumper",
    identity_seed=2,
    identity_strength=0.55,
    skin=SkinLook(
        tone=(0.80, 0.60, 0.47),
        blush=(0.76, 0.42, 0.34),
        lips=(0.66, 0.38, 0.34),
        brow=(0.10, 0.07, 0.05),
        stubble=0.42,
        stubble_colour=(0.22, 0.17, 0.15),
        brow_thickness=1.1,
        lip_strength=0.55,
        liner=0.3,
    ),
    eyes=EyeLook(iris=(0.24, 0.14, 0.07), iris_inner=(0.46, 0.28, 0.12)),
    hair=HairStyle(
        hairline=((0.0, 28.0), (20.0, 27.0), (36.0, 23.0), *SHORT_LINE[3:]),
        thickness=((0.0, 0.026), (35.0, 0.024), (55.0, 0.013), (75.0, 0.007), (110.0, 0.007), (180.0, 0.014)),
        edge_thickness=((0.0, 0.012), (25.0, 0.010), (42.0, 0.006), (55.0, 0.003), (180.0, 0.0025)),
        part_front=(-42.0, 40.0),
        part_back=(180.0, 58.0),
        part_thickness=0.006,
        clumps=30,
        clump_depth=0.42,
        wave=5.0,
        seed=8,
    ),
    hair_look=HairLook(root=(0.075, 0.055, 0.045), tip=(0.17, 0.12, 0.09), sheen=(0.42, 0.34, 0.28), sheen_strength=0.26, sheen_at=0.55),
    garment=Garment(front=-0.048, back=0.018, colour=(0.74, 0.68, 0.58)),
    room=Room(wall=(0.47, 0.54, 0.58), light=(0.90, 0.95, 1.0), furniture=(0.36, 0.30, 0.26), window_left=False),
)
AMA = Person(
    slug="ama",
    name="Ama",
    description="Natural curls, deep brown skin, saffron top",
    identity_seed=8,
    identity_strength=0.6,
    skin=SkinLook(
        tone=(0.42, 0.265, 0.19),
        blush=(0.46, 0.20, 0.15),
        lips=(0.46, 0.20, 0.19),
        brow=(0.05, 0.035, 0.03),
        blush_strength=0.3,
        brow_thickness=0.9,
        liner=0.7,
        lip_strength=0.8,
        liner_colour=(0.03, 0.02, 0.02),
    ),
    eyes=EyeLook(iris=(0.16, 0.09, 0.05), iris_inner=(0.30, 0.17, 0.08), sclera=(0.88, 0.85, 0.83)),
    hair=HairStyle(
        hairline=((0.0, 27.0), (30.0, 25.0), (48.0, 18.0), (62.0, 6.0), (73.0, -12.0), (80.0, -14.0), (101.0, -13.0), (122.0, -38.0), (180.0, -46.0)),
        thickness=((0.0, 0.050), (60.0, 0.056), (120.0, 0.060), (180.0, 0.058)),
        edge_thickness=((0.0, 0.020), (40.0, 0.024), (75.0, 0.040), (110.0, 0.044), (180.0, 0.030)),
        part_front=(0.0, 84.0),
        part_back=(180.0, 84.0),
        part_thickness=0.050,
        clump_depth=0.0,
        curl=0.011,
        curl_size=0.010,
        columns=124,
        seed=4,
    ),
    hair_look=HairLook(root=(0.035, 0.026, 0.024), tip=(0.20, 0.135, 0.105), sheen=(0.3, 0.2, 0.15), curly=True),
    garment=Garment(front=-0.062, back=0.012, colour=(0.80, 0.55, 0.16)),
    room=Room(wall=(0.62, 0.68, 0.60), light=(1.0, 0.97, 0.88), furniture=(0.50, 0.37, 0.26)),
)
EDITH = Person(
    slug="edith",
    name="Edith",
    description="Silver hair, lively blue eyes, plum cardigan",
    identity_seed=1,
    identity_strength=0.6,
    skin=SkinLook(
        tone=(0.87, 0.69, 0.60),
        blush=(0.84, 0.50, 0.46),
        lips=(0.70, 0.40, 0.40),
        brow=(0.46, 0.41, 0.37),
        age=0.5,
        mottling=1.6,
        brow_strength=0.75,
        brow_thickness=0.8,
        liner=0.4,
    ),
    eyes=EyeLook(iris=(0.24, 0.36, 0.48), iris_inner=(0.48, 0.56, 0.60), sclera=(0.87, 0.85, 0.83)),
    hair=HairStyle(
        hairline=((0.0, 33.0), (22.0, 31.0), (40.0, 25.0), *LONG_LINE[3:]),
        thickness=((0.0, 0.026), (60.0, 0.028), (110.0, 0.026), (180.0, 0.024)),
        edge_thickness=((0.0, 0.012), (40.0, 0.016), (66.0, 0.018), (100.0, 0.022), (140.0, 0.016), (180.0, 0.012)),
        hang=((0.0, 0.018), (18.0, 0.026), (36.0, 0.048), (54.0, 0.062), (70.0, 0.060), (100.0, 0.058), (130.0, 0.040), (180.0, 0.025)),
        flare=-0.25,
        part_front=(-30.0, 56.0),
        part_back=(180.0, 66.0),
        clumps=26,
        clump_depth=0.3,
        wave=4.0,
        seed=15,
    ),
    hair_look=HairLook(root=(0.50, 0.49, 0.49), tip=(0.76, 0.75, 0.74), sheen=(0.95, 0.95, 0.95), sheen_strength=0.30),
    garment=Garment(front=-0.046, back=0.024, colour=(0.38, 0.20, 0.31)),
    room=Room(wall=(0.70, 0.68, 0.74), light=(1.0, 0.94, 0.88), furniture=(0.48, 0.36, 0.34), window_left=False),
)
PEOPLE = (MARA, THEO, AMA, EDITH)
