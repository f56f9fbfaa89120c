from dataclasses import replace

import pytest

from cytolapse.simulation import NUCLEI, Simulation, simulate_movie


@pytest.fixture(scope="session")
def colony():
    """Four simulated microcolonies that grow into each other."""
    return simulate_movie(Simulation(frames=24, founders=4, grows="area", share_sd=0.03), 3)


@pytest.fixture(scope="session")
def nuclei():
    """Simulated nuclei that wander, also into the field."""
    return simulate_movie(replace(NUCLEI, frames=8, height_px=256, width_px=256, founders=12, surround_um=8.0), 5)
