import numpy as np
import pytest

from lvseg.data.phantom.heart import Heart, area_mm2, contraction, end_systole, profile, radii_for

EDV_ML, ESV_ML, LENGTH_MM, SHORTENING = 120.0, 48.0, 85.0, 0.15


@pytest.fixture(scope="module")
def heart() -> Heart:
    return Heart(
        length_mm=LENGTH_MM,
        radius_mm=radii_for((EDV_ML, ESV_ML), LENGTH_MM, SHORTENING),
        shortening=SHORTENING,
        wall_mm=9.0,
        septum=np.pi,
        septal_excess=0.2,
        outline=np.array([[0.05, 0.0], [0.0, 0.03], [0.01, 0.01]]),
        akinesia=(1.0, 0.15),
        right_width_mm=35.0,
    )


@pytest.mark.parametrize(("contracted", "volume_ml"), [(0.0, EDV_ML), (1.0, ESV_ML)])
def test_thin_discs_add_up_to_the_volume_that_was_asked_for(
    heart: Heart, contracted: float, volume_ml: float
) -> None:
    planes = np.arange(-5.0, 100.0, 0.1)
    discs = sum(heart.section(z, contracted).cavity_mm2 for z in planes) * 0.1 / 1000

    assert heart.volume_ml(contracted) == pytest.approx(volume_ml, rel=1e-9)
    assert discs == pytest.approx(volume_ml, rel=0.005)


def test_the_area_of_a_section_is_that_of_its_polygon(heart: Heart) -> None:
    section = heart.section(30.0, 0.5)
    angles = np.linspace(-np.pi, np.pi, len(section.endocardium))
    x, y = section.endocardium * np.cos(angles), section.endocardium * np.sin(angles)
    shoelace = abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2

    assert area_mm2(section.endocardium) == pytest.approx(shoelace, rel=1e-3)


def test_the_wall_thickens_as_the_cavity_shrinks(heart: Heart) -> None:
    relaxed, contracted = heart.section(40.0, 0.0), heart.section(40.0, 1.0)

    assert contracted.endocardium.mean() < relaxed.endocardium.mean()
    thickness = [(section.epicardium - section.endocardium).mean() for section in (relaxed, contracted)]
    assert 1.2 * thickness[0] < thickness[1] < 2.0 * thickness[0]


def test_the_wall_keeps_its_volume_through_the_beat(heart: Heart) -> None:
    volumes = []
    for contracted in (0.0, 1.0):
        planes = np.arange(0.0, LENGTH_MM, 0.25)
        sections = [heart.section(z, contracted) for z in planes]
        inner = [area_mm2(section.endocardium) for section in sections if section.has_cavity]
        outer = [area_mm2(section.epicardium) for section in sections if section.has_cavity]
        volumes.append((sum(outer) - sum(inner)) * 0.25)

    assert volumes[1] == pytest.approx(volumes[0], rel=0.02)


def test_the_mitral_ring_comes_down_past_the_most_basal_slices(heart: Heart) -> None:
    assert heart.section(5.0, 0.0).has_cavity
    assert not heart.section(5.0, 1.0).has_cavity
    assert heart.section(SHORTENING * LENGTH_MM + 1.0, 1.0).has_cavity


def test_there_is_muscle_but_no_cavity_just_below_the_tip(heart: Heart) -> None:
    section = heart.section(LENGTH_MM + 3.0, 0.0)

    assert section.cavity_mm2 == 0.0
    assert section.epicardium.mean() > 2.0


def test_the_cavity_narrows_to_nothing_at_the_tip() -> None:
    assert profile(1.0) == 0.0
    assert profile(0.95) < profile(0.7) < profile(0.35)


@pytest.mark.parametrize("phases", [2, 3, 12, 20, 25])
def test_the_heart_is_contracted_at_end_systole_alone_and_relaxed_at_the_last_phase(phases: int) -> None:
    curve = [contraction(phase, phases) for phase in range(1, phases + 1)]

    assert curve[end_systole(phases) - 1] == pytest.approx(1.0)
    assert curve[-1] == pytest.approx(0.0)
    assert sum(value > 0.999 for value in curve) == 1


def test_end_systole_is_the_seventh_of_twenty_phases_as_in_a_real_patient() -> None:
    assert end_systole(20) == 7
